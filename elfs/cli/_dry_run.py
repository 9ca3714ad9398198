"""What ``--dry-run`` says: which stages would run, why, and what that takes. Writes nothing."""

import dataclasses
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.cli._invocation import Invocation
from elfs.cli._plan import PlannedStage, plan
from elfs.cli._text import about, broken, columns, plural
from elfs.config import EmbedConfig, StageConfig

if TYPE_CHECKING:
    from elfs.stages.estimates.costs import Cost

__all__ = ["LONG_SECONDS", "show_plan"]

LONG_SECONDS = 600
"""From where on it is said what takes less."""

_LARGE_SHARE = 0.2
"""Of the time of all: what takes less is said of every stage that takes more."""

_UNKNOWN_MEMORY = " beside what CUDA holds"


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
    for line in _sum(costs, configs, here):
        output.data(broken(line, output.data_width))
    document = {"workspace": str(invocation.workspace), "plan": [_as_json(step, costs) for step in steps]}
    output.document("dry-run", document)


def _costs(
    invocation: Invocation, configs: Mapping[str, StageConfig], runs: Collection[str], source_root: Path | None
) -> dict[str, "Cost"]:
    """Return what each stage that runs takes; nothing where nobody knows the pool yet."""
    if not runs:
        return {}
    embed = configs.get("embed")
    if "embed" in runs and isinstance(embed, EmbedConfig) and embed.files == "-" and sys.stdin.isatty():
        invocation.output.warn("--files - lists what comes on standard input: pipe it in for the time and the memory.")
        return {}
    from elfs.stages.estimates.chain import chain_costs

    def tell(why: str) -> None:
        invocation.output.warn(f"what it takes is not known: {why}")

    on_cpu = invocation.runtime().on_cpu
    found = chain_costs(invocation.workspace, source_root, configs, runs, on_cpu=on_cpu, tell=tell)
    return {
        stage: dataclasses.replace(cost, cheaper=cost.cheaper and invocation.as_written(stage, cost.cheaper))
        for stage, cost in found.items()
    }


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
    return about(cost.seconds), here.memory_needed(cost.memory_bytes), here.disk_needed(cost.disk_bytes)


def _sum(costs: Mapping[str, "Cost"], configs: Mapping[str, StageConfig], here: _Here) -> list[str]:
    """Return a line about all stages, which run one after the other, and one for each that takes long."""
    if not costs:
        return []
    from elfs.stages.estimates.costs import START_SECONDS

    memory = here.memory_needed(max(cost.memory_bytes for cost in costs.values()))
    disk = here.disk_needed(sum(cost.disk_bytes for cost in costs.values()))
    known = {stage: cost.seconds for stage, cost in costs.items() if cost.seconds is not None}
    if not known:
        return [f"takes {memory} of memory{_UNKNOWN_MEMORY}, {disk} of disk; how long is known of CPUs alone"]
    seconds = START_SECONDS + sum(known.values())
    lines = [_total(seconds, costs, configs, f"{memory} of memory, {disk} of disk")]
    if seconds > LONG_SECONDS:
        long = [stage for stage, own in known.items() if own > _LARGE_SHARE * seconds and costs[stage].cheaper]
        lines += [f"{stage} takes {about(known[stage])}. {costs[stage].cheaper}" for stage in long]
    return lines


def _total(seconds: float, costs: Mapping[str, "Cost"], configs: Mapping[str, StageConfig], sizes: str) -> str:
    from elfs.parallel.cpus import available_cpus
    from elfs.stages.estimates.costs import is_measured

    unknown = [_with_network(stage, configs[stage]) for stage, cost in costs.items() if cost.seconds is None]
    more = f" and what is not known ({', '.join(unknown)})" if unknown else ""
    sure = ", within a factor of two" if all(is_measured(configs[stage]) for stage in costs) else ""
    return f"takes {about(seconds)}{more} on {plural(available_cpus(), 'CPU')}, {sizes}: by measured rates{sure}"


def _with_network(stage: str, config: StageConfig) -> str:
    """Return a stage with what has no measured rate."""
    network = getattr(config, "encoder", None) or getattr(config, "network", None)
    return stage if network is None else f"{stage} by {network}"


def _as_json(step: PlannedStage, costs: Mapping[str, "Cost"]) -> dict[str, Any]:
    cost = costs.get(step.stage)
    names = ("seconds", "memory_bytes", "disk_bytes", "cheaper")
    facts = dict.fromkeys(names) if cost is None else dataclasses.asdict(cost)
    return dataclasses.asdict(step) | facts
