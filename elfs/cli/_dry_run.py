"""What ``--dry-run`` says: which stages would run, why, and what that takes. Writes nothing."""

import dataclasses
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.cli._invocation import Invocation
from elfs.cli._plan import PlannedStage, plan
from elfs.cli._text import broken, clock, columns, plural
from elfs.config import EmbedConfig, StageConfig

if TYPE_CHECKING:
    from elfs.stages.estimates.costs import Cost

__all__ = ["show_plan"]

_LONGEST_SECONDS = 365 * 86_400
"""That are said as a time: what takes longer nobody waits for."""


def show_plan(
    invocation: Invocation,
    calls: Sequence[tuple[str, StageConfig]],
    sources: tuple[str, str] | None = None,
    source_root: Path | None = None,
) -> None:
    """Print what would run and what it would take, and do nothing.

    Parameters
    ----------
    invocation : Invocation
        The call of the command.
    calls : sequence of (str, StageConfig)
        The stages that it would call, in running order.
    sources : tuple of (str, str) or None
        As `plan` takes it.
    source_root : Path or None
        Folder or file of the images, where the call names one.
    """
    steps = plan(invocation.workspace, calls, force=invocation.force, sources=sources)
    runs = {step.stage for step in steps if step.action == "run"}
    configs, output = dict(calls), invocation.output
    is_refused = any(step.stage == "embed" and step.action == "refuse" for step in steps)
    if isinstance(embed := configs.get("embed"), EmbedConfig) and not is_refused:
        from elfs.stages.embedding.listing import require_named_files

        require_named_files(embed)
    costs = _costs(invocation, configs, runs, source_root)
    here = _Here.of(invocation.workspace)
    for line in _table(steps, costs, output.data_width, here):
        output.data(line)
    if costs:
        output.data(broken(_total(costs, configs, here), output.data_width))
    document = {"workspace": str(invocation.workspace), "plan": [_as_json(step, costs) for step in steps]}
    output.document("dry-run", document)


def _costs(
    invocation: Invocation, configs: Mapping[str, StageConfig], runs: Collection[str], source_root: Path | None
) -> dict[str, "Cost"]:
    """Return what each stage that runs takes; nothing where no rates are known: on GPUs, and for smoke runs."""
    if not runs or invocation.smoke or not invocation.runtime().on_cpu:
        return {}
    embed = configs.get("embed")
    if "embed" in runs and isinstance(embed, EmbedConfig) and embed.files == "-" and sys.stdin.isatty():
        invocation.output.warn("--files - lists what comes on standard input: pipe it in for the time and the memory.")
        return {}
    from elfs.stages.estimates.chain import chain_costs

    return chain_costs(invocation.workspace, source_root, configs, runs)


@dataclasses.dataclass(frozen=True)
class _Here:
    """What there is: memory of the machine and free disk, in bytes; None where nobody says."""

    memory: int | None
    disk: int | None

    @classmethod
    def of(cls, workspace: Path) -> "_Here":
        """Return what there is for a workspace, which need not exist."""
        from elfs.parallel.cpus import memory_bytes

        place = next((folder for folder in (workspace, *workspace.absolute().parents) if folder.exists()), None)
        return cls(memory_bytes(), None if place is None else shutil.disk_usage(place).free)

    def memory_needed(self, size: int) -> str:
        """Return how much memory that is, or that there is less."""
        if self.memory is not None and size > self.memory:
            return f"more than the {self.memory / 1e9:,.0f} GB"
        return f"{size / 1e9:,.1f} GB"

    def disk_needed(self, size: int) -> str:
        """Return how much disk that is, or that less is free."""
        if self.disk is not None and size > self.disk:
            return f"more than the {self.disk / 1e9:,.0f} GB free"
        return f"{size / 1e6:,.1f} MB"


def _table(steps: Sequence[PlannedStage], costs: Mapping[str, "Cost"], width: int, here: _Here) -> list[str]:
    """Return a line for each stage; where one is too wide, what each takes goes into a line of its own."""
    plans = [(step.record, step.action, step.reason) for step in steps]
    cells = [_cost_cells(costs.get(step.stage), here) for step in steps]
    lines = columns([left + right for left, right in zip(plans, cells, strict=True)])
    if max(map(len, lines)) < width:
        return lines
    lines = []
    for plan_line, right in zip(columns(plans), cells, strict=True):
        lines.append(broken(plan_line, width))
        lines += [broken(f"  {', '.join(right)}", width)] if any(right) else []
    return lines


def _cost_cells(cost: "Cost | None", here: _Here) -> tuple[str, str, str]:
    if cost is None:
        return "", "", ""
    seconds = "time not known" if cost.seconds is None else _duration(cost.seconds)
    return seconds, here.memory_needed(cost.memory_bytes), here.disk_needed(cost.disk_bytes)


def _duration(seconds: float) -> str:
    return f"about {clock(seconds)}" if seconds <= _LONGEST_SECONDS else "over a year"


def _total(costs: Mapping[str, "Cost"], configs: Mapping[str, StageConfig], here: _Here) -> str:
    """Return one line about all stages: they run one after the other in one process."""
    from elfs.parallel.cpus import available_cpus
    from elfs.stages.estimates.costs import START_SECONDS, is_measured

    known = [cost.seconds for cost in costs.values() if cost.seconds is not None]
    more = "" if len(known) == len(costs) else " and what is not known"
    sure = ", within a factor of two" if all(is_measured(configs[stage]) for stage in costs) else ""
    return (
        f"takes {_duration(START_SECONDS + sum(known))}{more} on {plural(available_cpus(), 'CPU')}, "
        f"{here.memory_needed(max(cost.memory_bytes for cost in costs.values()))} of memory, "
        f"{here.disk_needed(sum(cost.disk_bytes for cost in costs.values()))} of disk: by measured rates{sure}"
    )


def _as_json(step: PlannedStage, costs: Mapping[str, "Cost"]) -> dict[str, Any]:
    cost = costs.get(step.stage)
    facts = {"seconds": None, "memory_bytes": None, "disk_bytes": None} if cost is None else dataclasses.asdict(cost)
    return dataclasses.asdict(step) | facts
