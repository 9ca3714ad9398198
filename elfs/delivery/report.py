"""One page about a selection, with nothing from elsewhere: readable without its script, to look around in with it."""

import base64
import hashlib
import importlib.resources
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SCORES
from elfs.catalog import STAGES as STAGE_NAMES
from elfs.config import DEFAULT_WORKSPACE
from elfs.data.samples import Outcome, Split
from elfs.delivery.chosen import Selection, load_selection
from elfs.delivery.explore import explorer, script_json
from elfs.delivery.figures import cluster_bars, score_histogram
from elfs.delivery.pictures import Pictures
from elfs.delivery.places import publish_file
from elfs.delivery.pool import EASY, HARD, KEPT, REST, Band, Pool, evenly, load_pool
from elfs.delivery.tables import page_tables
from elfs.delivery.thumbnails import Thumbnails
from elfs.pipeline.trust import doubt
from elfs.pipeline.verdict import verdict
from elfs.workspace.workspace import Workspace

__all__ = ["Report", "render_report", "write_report"]

_TEMPLATE, _SCRIPT = "report.html.j2", "report.js"
_NUM_KEPT, _NUM_LEFT = 36, 24
"""Thumbnails of the selection, and of each band that was left out."""

_MAX_BROKEN = 200
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
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

_ABOUT_SCORES = {
    "auto": "The first ones are typical, hard or easy; the later ones are hard ones that no earlier one resembles.",
    "elfs": "Both ends are left out: the hardest are mostly wrong pseudo-labels, the easiest teach little.",
    "easiest": "The easiest are selected.",
    "hardest": "The hardest are selected.",
    "random": "Chance does not look at it.",
}
"""What the histogram shows, for the methods of which it can be said."""

_ABOUT_OTHERS = "The method goes by more than this score, or by something else."

_SHEETS = {
    KEPT: ("Selected", "Evenly spread over the ranks, the first rank first."),
    HARD: ("Left out: too hard", "The hardest of all. Many carry a wrong pseudo-label, or show nothing clear."),
    EASY: ("Left out: too easy", "The easiest of all. The network learns them without seeing their labels."),
    REST: ("Not selected", "Evenly spread from hard to easy where there are scores."),
}


@dataclass(frozen=True)
class Report:
    """A page that is ready.

    Attributes
    ----------
    selection : str
        Name of the selection.
    html : str
        The page.
    warnings : list of str
        What the reader should know first; the page says it too.
    """

    selection: str
    html: str
    warnings: list[str]


def write_report(path: Path, wanted: str | None, output: Path) -> Report:
    """Write a page about a selection.

    Parameters
    ----------
    path : Path
        The workspace; it may be read-only.
    wanted : str or None
        Name of the selection; None for the one that was made last.
    output : Path
        The page; one that is there is replaced.

    Returns
    -------
    Report
        What was written.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name, or `output` is a folder.
    StorageError
        If the page cannot be written.
    """
    report = render_report(path, wanted)
    publish_file(output, lambda: report.html.encode("utf-8"), force=True)
    return report


def render_report(path: Path, wanted: str | None) -> Report:
    """Make a page about a selection.

    Parameters
    ----------
    path : Path
        The workspace.
    wanted : str or None
        Name of the selection; None for the one that was made last.

    Returns
    -------
    Report
        The same for the same workspace, to the byte.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name.
    """
    import jinja2

    selection = load_selection(path, wanted)
    pool = load_pool(selection)
    thumbnails = Thumbnails(Pictures(selection))
    sheets = [_sheet(selection, pool, band, thumbnails) for band in sorted(pool.bands, key=_sheet_order)]
    stages = _stages(selection)
    warnings = _warnings(selection, stages, thumbnails)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    own = importlib.resources.files("elfs.delivery")
    template, script = (own.joinpath(name).read_text(encoding="utf-8") for name in (_TEMPLATE, _SCRIPT))
    judged = verdict(selection.record.summary) if "method" in selection.record.summary else None
    about = _ABOUT_SCORES.get(selection.config.method, _ABOUT_OTHERS)
    html = environment.from_string(template).render(
        selection=selection,
        record=selection.record,
        pool=pool,
        share=f"{len(selection.rows) / len(pool):.1%}" if len(pool) else "0.0%",
        warnings=warnings,
        verdict=judged,
        findings=judged.findings if judged else (),
        data=script_json(explorer(selection, pool, thumbnails)),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        stages=stages,
        facts=_facts(selection, pool),
        figures=_figures(selection, pool),
        about_scores=f"Every image of the pool by its score. {about}",
        sheets=sheets,
        tables=page_tables(selection, pool),
        broken=_broken(selection),
        next_steps=_next_steps(selection),
    )
    return Report(selection.name, _shown(html), warnings)


def _shown(text: str) -> str:
    """Return the text with control characters, and bytes that are not UTF-8, written out."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _sheet_order(band: Band) -> int:
    return list(_SHEETS).index(band.kind)


def _sheet(selection: Selection, pool: Pool, band: Band, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return a contact sheet of a band."""
    title, explanation = _SHEETS[band.kind]
    if band.kind == KEPT:
        in_pool = list(selection.in_pool())
        tiles = [
            _tile(thumbnails, row, image.id, image.pseudo_label, image.score, f"rank {image.rank}: {image.why}")
            for image, row in (in_pool[i] for i in evenly(np.arange(len(in_pool)), _NUM_KEPT))
        ]
    else:
        tiles = [_left_tile(selection, pool, thumbnails, position) for position in _examples(band)]
    return {
        "kind": band.kind,
        "title": title,
        "explanation": explanation,
        "count": len(band.positions),
        "tiles": tiles,
    }


def _examples(band: Band) -> NDArray[np.int64]:
    if band.kind == HARD:
        return band.positions[:_NUM_LEFT]
    if band.kind == EASY:
        return band.positions[: -_NUM_LEFT - 1 : -1]
    return evenly(band.positions, _NUM_LEFT)


def _left_tile(selection: Selection, pool: Pool, thumbnails: Thumbnails, position: np.int64) -> dict[str, Any]:
    row = int(pool.rows[position])
    label = None if pool.pseudo_labels is None else int(pool.pseudo_labels[position])
    score = None if pool.scores is None else float(pool.scores[position])
    return _tile(thumbnails, row, selection.table.id(row), label, score, "not selected")


def _tile(
    thumbnails: Thumbnails, row: int, name: str, label: int | None, score: float | None, why: str
) -> dict[str, Any]:
    parts = [] if label is None else [f"cluster {label}"]
    parts += [] if score is None or not np.isfinite(score) else [f"{score:.3g}"]
    return {"picture": thumbnails.thumbnail(row), "id": name, "caption": parts, "why": why}


def _stages(selection: Selection) -> list[dict[str, Any]]:
    """Return what each stage up to this selection was told, what it made, and how long it took."""
    manifest = selection.workspace.manifest
    found = []
    for stage in STAGE_NAMES:
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


def _warnings(selection: Selection, stages: list[dict[str, Any]], thumbnails: Thumbnails) -> list[str]:
    found = []
    smoke = [stage["stage"] for stage in stages if stage["smoke"]]
    if smoke:
        found.append(f"Smoke settings ({', '.join(smoke)}): every step ran, the result means nothing.")
    if selection.remark is not None:
        found.append(selection.remark[0].upper() + selection.remark[1:])
    unreliable = doubt(selection.record.summary)
    if unreliable is not None:
        found.append(f"{unreliable[0].upper()}{unreliable[1:]}")
    if thumbnails.problems:
        first, count = thumbnails.problems[0], len(thumbnails.problems)
        subject = "An image" if count == 1 else f"{count:,} images"
        advice = " If the folder has moved: elfs embed --root FOLDER" if thumbnails.pictures.are_files else ""
        found.append(f"{subject} of this page can no longer be read ({first.rstrip('.')}).{advice}")
    return found


def _facts(selection: Selection, pool: Pool) -> list[tuple[str, str]]:
    """Return the figures at the top."""
    table, summary = selection.table, selection.record.summary
    found = [
        (f"{len(selection.images):,}", "selected"),
        (f"{len(pool):,}", "in the pool"),
    ]
    if summary.get("copies_left_out"):
        found.append((f"{summary['copies_left_out']:,}", "left out as copies"))
    if "clusters" in summary:
        found.append((f"{summary['clusters_covered']:,} of {summary['clusters']:,}", "clusters covered"))
    if "hard_rate" in summary:
        found.append((f"{summary['hard_rate']:.0%}", "pruned as too hard"))
    if "trust" in summary:
        found.append((f"{summary['trust']:.2f} of 1", "trust in the pseudo-labels"))
    num_test = len(table.rows(Split.TEST))
    found += [(f"{num_test:,}", "in the test split")] if num_test else []
    found.append((f"{int((~table.usable()).sum()):,}", "left out as unreadable"))
    return found


def _figures(selection: Selection, pool: Pool) -> dict[str, str]:
    key = selection.config.key
    found = {}
    if pool.scores is not None and np.isfinite(pool.scores).any():
        found["scores"] = score_histogram(pool, key, higher_is_harder=SCORES[key].harder == "higher")
    if pool.pseudo_labels is not None:
        chosen = np.flatnonzero(np.isin(pool.rows, selection.rows))
        found["clusters"] = cluster_bars(pool, chosen)
    return found


def _broken(selection: Selection) -> dict[str, Any]:
    """Return the images that were left out as unreadable, the first ones with their reasons."""
    table = selection.table
    reasons = table.reasons()
    rows = np.flatnonzero(~table.usable())
    named = [
        (table.id(row), Outcome(int(table.outcome[row])).name.lower().replace("_", " "), reasons.get(row, ""))
        for row in rows[:_MAX_BROKEN].tolist()
    ]
    return {"images": named, "count": len(rows)}


def _next_steps(selection: Selection) -> list[tuple[str, list[str]]]:
    """Return what to do next, each with its commands."""
    name = shlex.quote(selection.name)
    place = _place(selection.workspace)
    folder = shlex.quote(f"{selection.name}-to-label")
    budget = shlex.quote(selection.config.budget)
    steps = [
        (
            "Have the images annotated: as a folder with a table to fill in, or in a tool for it.",
            [
                f"elfs export --selection {name} --format images --output {folder}{place}",
                f"elfs export --selection {name} --format label-studio --output tasks.json{place}",
                f"elfs export --selection {name} --format cvat --output manifest.jsonl{place}",
            ],
        ),
        (
            "Train on them, when the column label is filled in; --network linear takes the embeddings, and seconds.",
            [f"elfs train --selection {name} --labels {folder}/labels.csv --network linear{place}"],
        ),
    ]
    if selection.config.method != "random":
        steps.append(
            ("See whether chance does as well.", [f"elfs select --budget {budget} --method random{place}"]),
        )
    return steps


def _place(workspace: Workspace) -> str:
    if workspace.path == DEFAULT_WORKSPACE:
        return ""
    return f" --workspace {shlex.quote(str(workspace.path))}"
