"""Which rank a process is: torchrun's variables, Slurm's, none."""

import pytest

from elfs.errors import DeviceError
from elfs.parallel.place import Place, first_host, place_from_environment

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),3",
    "SLURM_STEP_NODELIST": "gpu[003-005]",
    "SLURM_JOB_ID": "1234567",
}


def test_torchrun() -> None:
    assert place_from_environment(TORCHRUN) == Place(5, 8, 1, 4, "node1", 29500)


def test_torchrun_comes_before_slurm() -> None:
    assert place_from_environment(SLURM | TORCHRUN) == Place(5, 8, 1, 4, "node1", 29500)


def test_without_local_variables_all_ranks_are_on_one_host() -> None:
    plain = {name: value for name, value in TORCHRUN.items() if not name.startswith("LOCAL")}
    assert place_from_environment(plain) == Place(5, 8, 5, 8, "node1", 29500)


def test_slurm() -> None:
    # 20,000 + 1,234,567 mod 20,000
    assert place_from_environment(SLURM) == Place(5, 7, 1, 3, "gpu003", 34567)


def test_steps_of_one_job_meet_on_ports_of_their_own() -> None:
    ports = set()
    for step in range(3):
        place = place_from_environment(SLURM | {"SLURM_STEP_ID": str(step)})
        assert place is not None
        ports.add(place.port)
    assert len(ports) == 3
    assert 34567 in ports


def test_slurm_with_a_chosen_meeting_place() -> None:
    place = place_from_environment(SLURM | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"})
    assert place is not None
    assert (place.host, place.port) == ("10.0.0.1", 4000)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WORLD_SIZE": "1", "RANK": "0"},
        # torchrun with one process in each task of srun
        SLURM | {"WORLD_SIZE": "1", "RANK": "0"},
        # the batch script of a job with many tasks: srun has not started them
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"},
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
    ],
)
def test_alone(environ: dict[str, str]) -> None:
    assert place_from_environment(environ) is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"WORLD_SIZE": "2", "RANK": "0"},
            r"^WORLD_SIZE is 2, but MASTER_ADDR, MASTER_PORT are not set: torchrun",
        ),
        ({"WORLD_SIZE": "two"}, r"^the variable WORLD_SIZE is 'two', expected a whole number\.$"),
        (TORCHRUN | {"MASTER_PORT": "http"}, r"^the variable MASTER_PORT is 'http'"),
        (TORCHRUN | {"RANK": "8"}, r"^this process is rank 8 of 8 \(1 of 4 on its host\)"),
        (TORCHRUN | {"LOCAL_RANK": "4"}, r"^this process is rank 5 of 8 \(4 of 4 on its host\)"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, r"^SLURM_STEP_NUM_TASKS is set, but SLURM_PROCID, SLURM_LOCALID are not\.$"),
    ],
)
def test_refuses(environ: dict[str, str], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        place_from_environment(environ)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("", "localhost"),
        ("login1", "login1"),
        ("a1,b2", "a1"),
        ("gpu[003-007,9],login1", "gpu003"),
        ("gpu[3,5]", "gpu3"),
        ("rack[01-02]-n", "rack01-n"),
    ],
)
def test_first_host(nodes: str, host: str) -> None:
    assert first_host(nodes) == host
