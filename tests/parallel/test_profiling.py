"""Ten steps of each piece of work, by torch's profiler."""

import json
from pathlib import Path

import pytest
import torch

from elfs.parallel.profiling import STEPS, WAIT, WARM_UP, ProfiledProgress
from elfs.parallel.runtime import Silence

ENOUGH = WAIT + WARM_UP + STEPS


def run(progress: ProfiledProgress, label: str, steps: int, within: dict[int, str] | None = None) -> None:
    """Do some steps, at some of which other work is done."""
    with progress.task(label, steps, "steps") as task:
        for step in range(steps):
            torch.ones(20, 20).matmul(torch.ones(20, 20))
            if within is not None and step in within:
                run(progress, within[step], ENOUGH)
            task.advance(1, "0.3")


def test_a_table_and_a_trace_of_ten_steps(tmp_path: Path) -> None:
    said: list[Path] = []
    progress = ProfiledProgress(Silence(), tmp_path, said.append)
    run(progress, "Stage 2 of 6: the heads", ENOUGH + 5)
    run(progress, "label", ENOUGH)
    assert said == [tmp_path / "stage-2-of-6-the-heads.txt", tmp_path / "label.txt"]
    table = said[0].read_text()
    head, meaning, _ = table.split("\n", 2)
    assert head.startswith(
        f"Stage 2 of 6: the heads: up to {STEPS} steps, after the first {WAIT + WARM_UP}; torch's operators"
    )
    assert meaning.startswith("ProfilerStep* is a step as a whole: ")
    [product] = [line for line in table.splitlines() if line.split()[:1] == ["aten::mm"]]
    assert product.split()[-1] == str(STEPS)
    trace = json.loads(said[0].with_suffix(".json").read_text())
    assert sum(event.get("name") == "aten::mm" for event in trace["traceEvents"]) == STEPS


@pytest.mark.parametrize("steps", [0, 1, WAIT + WARM_UP - 1])
def test_too_few_steps_leave_nothing(steps: int, tmp_path: Path) -> None:
    run(ProfiledProgress(Silence(), tmp_path, print), "few", steps)
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_run_did_is_no_step(tmp_path: Path) -> None:
    with ProfiledProgress(Silence(), tmp_path, print).task("resumed", 50, "steps") as task:
        for _ in range(ENOUGH):
            task.resume(1)
    assert list(tmp_path.iterdir()) == []


def test_work_within_work_is_part_of_it(tmp_path: Path) -> None:
    run(ProfiledProgress(Silence(), tmp_path, print), "outer", ENOUGH, within={2: "inner"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outer.json", "outer.txt"]


def test_work_that_is_made_of_other_work_is_left_to_the_first_of_it(tmp_path: Path) -> None:
    """Such as the trainings of a comparison; those after the first do the same."""
    said: list[Path] = []
    progress = ProfiledProgress(Silence(), tmp_path, said.append)
    run(progress, "compare", ENOUGH, within={step: f"training {step}" for step in range(ENOUGH)})
    assert said == [tmp_path / "training-0.txt"]
    run(progress, "label", ENOUGH)
    assert said[1:] == [tmp_path / "label.txt"]


def test_short_work_within_other_work_leaves_it_to_the_next(tmp_path: Path) -> None:
    said: list[Path] = []
    progress = ProfiledProgress(Silence(), tmp_path, said.append)
    with progress.task("compare", ENOUGH, "trainings") as task:
        for steps in (1, ENOUGH, ENOUGH):
            run(progress, f"training of {steps}", steps)
            task.advance()
    assert said == [tmp_path / f"training-of-{ENOUGH}.txt"]


def test_after_an_error_the_next_work_is_recorded(tmp_path: Path) -> None:
    progress = ProfiledProgress(Silence(), tmp_path, print)
    with pytest.raises(KeyboardInterrupt), progress.task("stopped", 9, "steps"):
        raise KeyboardInterrupt
    run(progress, "next", ENOUGH)
    assert (tmp_path / "next.txt").is_file()
