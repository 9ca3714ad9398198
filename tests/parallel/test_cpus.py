"""CPUs by affinity and by the quota of a container, in files as Linux writes them."""

import os
from pathlib import Path

import pytest

from elfs.parallel import cpus
from elfs.parallel.cpus import available_cpus, cpu_quota, memory_bytes


@pytest.mark.parametrize(("quota", "expected"), [(None, 3), (8.0, 3), (2.0, 2), (1.5, 2), (0.25, 1)])
def test_cpus_respect_the_affinity_mask_and_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert available_cpus() == expected


def test_cpus_where_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: None)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus() == 1


V1 = {"docker/1/cpu.cfs_quota_us": "150000\n", "docker/1/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        (
            "0::/a/b\n",
            {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n", "cpu.max": "900000 100000\n"},
            0.5,
        ),
        ("0::/../../elsewhere\n", {"cpu.max": "300000 100000\n"}, 3.0),
        ("4:cpu,cpuacct:/docker/1\n", {f"cpu,cpuacct/{name}": text for name, text in V1.items()}, 1.5),
        ("3:cpuset:/\n4:cpu:/docker/1\n0::/\n", {f"cpu/{name}": text for name, text in V1.items()}, 1.5),
        ("4:cpu:/docker/2\n", {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {}, None),
        (None, {}, None),
    ],
)
def test_quota(tmp_path: Path, groups: str | None, files: dict[str, str], expected: float | None) -> None:
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path) == expected


def test_memory_of_the_machine_where_the_system_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = memory_bytes()
    assert found is not None
    assert found > 1 << 30
    monkeypatch.delattr("os.sysconf")
    assert memory_bytes() is None
