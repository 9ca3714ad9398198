"""``elfs embed --shard I/N`` and ``--merge``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.errors import UsageError
from tests.cli.conftest import Ran


@pytest.mark.parametrize("text", ["0/8", "9/8", "8", "1/0", "-1/8", "a/b", "1/8/2", ""])
def test_shard_is_one_of_n(elfs: Callable[..., Ran], text: str) -> None:
    ran = elfs("embed", "digits", f"--shard={text}")
    assert (ran.code, ran.out) == (UsageError.exit_code, "")
    assert f"--shard is {text!r}, expected I/N with I from 1 to N, such as 3/8." in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--shard", "1/2", "--merge"], "--shard makes one part, --merge joins all: one after the other."),
        (["--merge", "--dry-run"], "--merge has no --dry-run"),
        (["digits", "--shard", "1/2", "--dry-run"], "--shard has no --dry-run: without --shard it says what the whole"),
        (["--embeddings", "own.npy", "--shard", "1/2"], "--shard makes embeddings, --embeddings brings them"),
    ],
)
def test_refusals(elfs: Callable[..., Ran], arguments: list[str], message: str) -> None:
    ran = elfs("embed", *arguments)
    assert ran.code == UsageError.exit_code
    assert message in ran.err


def test_shards_do_not_run_as_ranks(elfs: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    ran = elfs("embed", "digits", "--shard", "1/2")
    assert ran.code == UsageError.exit_code
    assert "torchrun or srun has started several" in ran.err
    assert "unset WORLD_SIZE and SLURM_STEP_NUM_TASKS" in ran.err
    document = elfs("embed", "digits", "--shard", "1/2", "--json")  # the first rank speaks to programs, too
    assert json.loads(document.out)["error"]["code"] == UsageError.exit_code
    monkeypatch.setenv("RANK", "1")
    assert elfs("embed", "digits", "--shard", "1/2", "--json").out == ""


def test_a_shard_is_made_on_one_device(elfs: Callable[..., Ran]) -> None:
    options = ["--encoder", "pixels", "--limit", "9", "--shard", "1/2"]
    ran = elfs("embed", "digits", *options, "--devices", "cpu:2")
    assert (ran.code, "4 of 9 there" in ran.err) == (0, True)
    assert "warning: --shard is made by one process, on cpu, the first of --devices cpu:2." in ran.err
    assert "warning" not in elfs("embed", "digits", *options, "--devices", "cpu").err


def test_shards_and_merge(elfs: Callable[..., Ran], tmp_path: Path) -> None:
    options = ["--devices", "cpu", "--encoder", "pixels", "--limit", "90"]
    second = elfs("embed", "digits", *options, "--shard", "2/2")
    assert (second.code, second.out) == (0, "")
    assert "shard 2/2, 45 rows" in second.err
    assert "45 of 90 there" in second.err
    assert "next       elfs embed digits" in second.err
    assert "--shard 1/2" in second.err
    missing = elfs("embed", "--merge", "--devices", "cpu")
    assert missing.code == 4
    assert "rows 0 to 44 of 90 are missing: shards 1 of 2." in missing.err
    first = elfs("embed", "digits", *options, "--shard", "1/2", "--json")
    facts: dict[str, Any] = json.loads(first.out)["shard"]
    assert (facts["num_made"], facts["num_finished"], facts["next_command"]) == (45, 90, "elfs embed --merge")
    other = elfs("embed", "cifar10", "--merge", "--devices", "cpu")
    assert (other.code, "no shards with these options wait" in other.err) == (2, True)
    merged = elfs("embed", "digits", "--merge", "--seed", "0", "--devices", "cpu")
    assert (merged.code, "90 x 64" in merged.err) == (0, True)
    again = elfs("embed", "digits", *options, "--shard", "1/2")
    assert (again.code, "published" in again.err, "next       elfs cluster" in again.err) == (0, True, True)
