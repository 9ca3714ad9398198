"""How a selection was made, stage by stage, for the page about it."""

from typing import Any

from elfs.catalog import STAGES
from elfs.delivery.chosen import Selection

__all__ = ["stage_table"]

_SHOWN_SECONDS, _CLOCK_SECONDS = 0.1, 100

_SETTINGS = {
    "embed": ("neighbors", "limit"),
    "cluster": ("loss", "epochs", "batch_size", "learning_rate"),
    "label": ("head", "smallest_cluster", "largest_cluster"),
    "dynamics": ("batch_size", "learning_rate", "image_size"),
    "score": ("window",),
    "select": ("method", "budget"),
}
"""Settings and facts of each stage that a reader wants to see and its headline does not tell."""


def stage_table(selection: Selection) -> list[dict[str, Any]]:
    """Return what each stage up to this selection was told, what it made, and how long it took.

    Parameters
    ----------
    selection : Selection
        What was selected.

    Returns
    -------
    list of dict
        What the page's template shows of each stage, in the order in which they run.
    """
    manifest = selection.workspace.manifest
    found = []
    for stage in STAGES:
        name = f"select/{selection.name}" if stage == "select" else stage
        if name not in manifest.records:
            continue
        record, run = manifest.records[name], manifest.runs.get(name, {})
        values = {key: record.summary.get(key, record.config.get(key)) for key in _SETTINGS[stage]}
        if record.seed is not None:
            values["seed"] = record.seed
        found.append(
            {
                "stage": stage,
                "headline": ", ".join(str(record.summary.get("headline", "")).split("   ")),
                "settings": [
                    (key.replace("_", " "), _value(value)) for key, value in values.items() if value is not None
                ],
                "time": _duration(run.get("seconds")),
                "device": str(run.get("device", "")),
                "started": str(run.get("started", ""))[:16].replace("T", " "),
                "smoke": record.smoke,
                "stale": selection.workspace.stale_reason(name),
            }
        )
    return found


def _value(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    if seconds < _CLOCK_SECONDS:
        return f"{seconds:.1f} s" if seconds >= _SHOWN_SECONDS else f"< {_SHOWN_SECONDS} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"
