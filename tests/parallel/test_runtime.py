"""Where a stage runs."""

import pytest
import torch

from elfs.parallel.devices import DeviceChoice
from elfs.parallel.place import Place
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime, Silence


def test_runtime_knows_its_device() -> None:
    runtime = Runtime(devices="cpu")
    assert runtime.choice == DeviceChoice("cpu")
    assert runtime.device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("chosen", "num_images", "expected"), [(3, 10, 3), (0, 10**6, 0), (None, 1999, 0), (None, 2000, 5)]
)
def test_workers(monkeypatch: pytest.MonkeyPatch, chosen: int | None, num_images: int, expected: int) -> None:
    monkeypatch.setattr("elfs.parallel.runtime.available_cpus", lambda: 5)
    assert Runtime(num_workers=chosen).workers_for(num_images) == expected


def test_workers_are_at_most_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.parallel.runtime.available_cpus", lambda: 96)
    assert Runtime().workers_for(10**6) == 16


def test_silence_takes_everything() -> None:
    with Silence().task("label", 3, "steps") as task:
        task.advance()
        task.advance(2, "note")
    Runtime().warn("nobody hears this")


class TestLongTasks:
    """A piece of work says after ten seconds that it will take long on a CPU."""

    @pytest.mark.parametrize(
        ("seconds", "total", "said"),
        [
            (1.0, 600, []),  # ten minutes, less the first unit
            (1.0, 720, ["stage will take about 12 minutes. Do less."]),
            (12.0, 100, ["stage will take about 20 minutes. Do less."]),
            (60.0, 1000, ["stage will take about 17 hours. Do less."]),
            (0.001, 20_000, []),
        ],
    )
    def test_once_if_more_than_ten_minutes(self, seconds: float, total: int, said: list[str]) -> None:
        told: list[str] = []
        now = [0.0]
        runtime = Runtime(devices="cpu", warn=told.append, clock=lambda: now[0])
        with runtime.long_task("stage", total, "steps", "Do less.") as task:
            for _ in range(total):
                now[0] += seconds
                task.advance()
        assert told == said

    def test_what_an_interrupted_run_had_done_does_not_count(self) -> None:
        told: list[str] = []
        now = [0.0]
        runtime = Runtime(devices="cpu", warn=told.append, clock=lambda: now[0])
        with runtime.long_task("stage", 1000, "steps", "Do less.") as task:
            task.resume(990)
            for _ in range(10):
                now[0] += 12.0
                task.advance()
        assert told == []

    @pytest.mark.parametrize(("rank", "num_said"), [(0, 1), (1, 0)])
    def test_of_ranks_that_share_the_work_one_says_so(self, rank: int, num_said: int) -> None:
        told: list[str] = []
        now = [0.0]
        ranks = Ranks(Place(rank, 2, rank, 2, "", 0))
        runtime = Runtime(devices="cpu:2", ranks=ranks, warn=told.append, clock=lambda: now[0])
        with runtime.long_task("stage", 720, "steps", "Do less.") as task:
            for _ in range(20):
                now[0] += 1.0
                task.advance()
        assert len(told) == num_said

    def test_a_note_long_after_the_first_step_says_nothing_about_time(self) -> None:
        told: list[str] = []
        now = [0.0]
        runtime = Runtime(devices="cpu", warn=told.append, clock=lambda: now[0])
        with runtime.long_task("stage", 100, "steps", "Do less.") as task:
            task.advance()
            now[0] += 20.0
            task.advance(0, "loss 1.00")
        assert told == []

    def test_the_rest_alone_counts_where_the_first_step_is_slow(self) -> None:
        told: list[str] = []
        now = [0.0]
        runtime = Runtime(devices="cpu", warn=told.append, clock=lambda: now[0])
        with runtime.long_task("stage", 1410, "steps", "Do less.") as task:
            now[0] += 5.0
            task.resume(190)
            for _ in range(1220):
                now[0] += 3.0
                task.advance()
        assert told == ["stage will take about 61 minutes. Do less."]


@pytest.mark.parametrize(
    ("devices", "local_rank", "expected"), [("0,1", 1, "cuda:1"), ("all", 0, "cuda:0"), ("cpu:2", 1, "cpu")]
)
def test_rank_that_trains_alone_keeps_its_device_and_its_part_of_the_cpus(
    devices: str, local_rank: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elfs.parallel.devices._num_gpus", lambda: 2)
    monkeypatch.setattr("elfs.parallel.runtime.available_cpus", lambda: 8)
    ranks = Ranks(Place(2 + local_rank, 4, local_rank, 2, "", 0))
    runtime = Runtime(devices=devices, ranks=ranks).by_itself()
    assert str(runtime.device()) == expected
    assert (runtime.ranks.rank, runtime.ranks.size, runtime.workers_for(5_000)) == (0, 1, 4)
    assert runtime.ranks.collect("alone") == ["alone"]
