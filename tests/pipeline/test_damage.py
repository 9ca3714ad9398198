"""What is damaged is never used, by no command that reads it, and never recorded under the digest that it had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.catalog import STAGES
from elfs.errors import CorruptArtifactError
from elfs.pipeline import execution
from elfs.pipeline.graph import STAGES as TABLE
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of, run_stage
from tests.damage import READERS, flip, flip_value, restate, tensor_places

TENSORS = {
    "samples": ("id_blob", "id_offsets", "split", "num_bytes", "outcome", "remarks"),
    "embeddings": ("embeddings", "content"),
    "neighbors": ("indices", "similarity"),
    "heads": ("mean", "inverse_deviation"),
    "pseudo_labels": ("pseudo_labels", "confidence"),
    "dynamics": ("target_probability", "margin", "error_norm", "entropy", "correct"),
    "scores": ("aum", "forgetting", "el2n", "entropy"),
}
PAIRS = [(artifact, tensor) for artifact, names in TENSORS.items() for tensor in names]


def maker(artifact: str) -> str:
    return next(stage.name for stage in TABLE.values() if artifact in stage.makes)


def refusals(workspace: Path, artifact: str) -> Iterator[tuple[str, CorruptArtifactError]]:
    """Yield what each command that reads an artifact says of it; all others must not mind."""
    for name, (reads, call) in READERS.items():
        if artifact in reads:
            before = bytes_of(workspace)
            with pytest.raises(CorruptArtifactError, match=artifact) as caught:
                call(workspace)
            assert bytes_of(workspace) == before, name
            yield name, caught.value


@pytest.mark.parametrize(("artifact", "tensor"), PAIRS, ids="-".join)
def test_row_14_one_flipped_value_is_refused_by_every_command_that_reads_it(
    digits: Finished, workspace: Path, artifact: str, tensor: str
) -> None:
    digits.copy(workspace)
    file = workspace / f"{artifact}.safetensors"
    assert set(TENSORS[artifact]) <= set(tensor_places(file))
    flip_value(file, tensor)
    told = dict(refusals(workspace, artifact))
    assert told
    for error in told.values():
        assert "has digest sha256:" in error.message
        assert str(error.hint).startswith(f"elfs {maker(artifact)} ")
        assert str(error.hint).endswith(f" --workspace {workspace} --force")


@pytest.mark.parametrize("artifact", [*TENSORS, "clusters"])
def test_row_14_one_flipped_byte_of_a_header_or_of_json_is_refused(
    digits: Finished, workspace: Path, artifact: str
) -> None:
    digits.copy(workspace)
    suffix = "json" if artifact == "clusters" else "safetensors"
    for position in (0, 9, 20):
        flip(workspace / f"{artifact}.{suffix}", position, bit=1)
        assert list(refusals(workspace, artifact))
        flip(workspace / f"{artifact}.{suffix}", position, bit=1)


@pytest.mark.parametrize("artifact", TENSORS)
def test_row_14_the_hint_makes_it_what_it_was(digits: Finished, workspace: Path, artifact: str) -> None:
    digits.copy(workspace)
    before = Workspace.open(workspace).manifest.artifacts[artifact]
    flip_value(workspace / f"{artifact}.safetensors", TENSORS[artifact][0])
    source: dict[str, Any] = {"source": "digits", "limit": 200} if maker(artifact) == "embed" else {}
    run_stage(maker(artifact), workspace, force=True, **source)
    opened = Workspace.open(workspace)
    assert opened.manifest.artifacts[artifact] == before
    assert opened.verify() == []
    assert [opened.stale_reason(stage) for stage in STAGES if stage != "select"] == [None] * 5


def test_embed_embeds_again_what_is_damaged(
    folder: Finished, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.copy(workspace)
    digest = Workspace.open(workspace).manifest.artifacts["embeddings"].digest
    flip_value(workspace / "embeddings.safetensors", "embeddings")
    assert run_stage("embed", workspace, root=folder.root, source="folder", neighbors=6).ran
    opened = Workspace.open(workspace)
    assert opened.manifest.artifacts["embeddings"].digest == digest
    assert [finding for finding in opened.verify() if finding.artifact == "embeddings"] == []


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("embed", "select")])
def test_what_is_damaged_while_a_stage_runs_is_not_recorded(
    digits: Finished, workspace: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    artifact = TABLE[stage].needs[-1]
    file = next(workspace.glob(f"{artifact}*.safetensors"))
    original = execution._check_again

    def damaged(*arguments: Any) -> None:
        flip(file, file.stat().st_size - 1)
        original(*arguments)

    monkeypatch.setattr(execution, "_check_again", damaged)
    before = (workspace / "manifest.json").read_bytes()
    with pytest.raises(CorruptArtifactError, match=rf"{artifact}\.safetensors has digest"):
        run_stage(stage, workspace, force=True)
    assert (workspace / "manifest.json").read_bytes() == before
    assert not (workspace / "partial").exists()


@pytest.mark.parametrize(
    ("artifact", "tensor", "value", "said"),
    [
        ("neighbors", "indices", 200, r"'indices' holds 200 in row 7, expected 0 to 199, or -1"),
        ("neighbors", "indices", -2, r"'indices' holds -2 in row 7"),
        ("neighbors", "similarity", np.inf, r"'similarity' holds inf in row 7, expected -1 to 1, or NaN"),
        ("pseudo_labels", "pseudo_labels", 2**40, r"'pseudo_labels' holds 1099511627776 in row 7, expected 0 to 2, or"),
        ("pseudo_labels", "confidence", -0.5, r"'confidence' holds -0\.5 in row 7"),
        (
            "embeddings",
            "embeddings",
            np.inf,
            r"'embeddings' holds inf in row 7, expected finite numbers, or NaN in the",
        ),
        ("embeddings", "embeddings", np.nan, r"'embeddings' holds nan in row 7"),
        ("dynamics", "margin", -1.5, r"'margin' holds -1\.5 in row 0, expected -1 to 1, or NaN"),
        ("dynamics", "correct", 7, r"'correct' holds 7 in row 0, expected 0 to 1, or 255"),
        ("scores", "aum", -np.inf, r"'aum' holds -inf in row 7, expected finite numbers, or NaN"),
        ("heads", "mean", np.nan, r"'mean' holds nan in row 7, expected finite numbers\."),
        ("samples", "outcome", 9, r"'outcome' holds 9 in row 7, expected 0 to 4"),
        ("samples", "num_bytes", -1, r"'num_bytes' holds -1 in row 7, expected at least 0"),
        ("samples", "id_offsets", 0, r"'id_offsets' holds 0 in row 7, expected numbers from 0 that never fall"),
    ],
)
def test_values_that_make_no_sense_are_refused_though_their_digest_is_right(
    digits: Finished, workspace: Path, artifact: str, tensor: str, value: float, said: str
) -> None:
    digits.copy(workspace)
    tensors = {name: np.array(values) for name, values in Workspace.open(workspace).arrays(artifact).items()}
    row = 0 if artifact == "dynamics" else 7
    tensors[tensor][row, ...].reshape(-1)[:1] = value
    restate(workspace, artifact, tensors)
    for name, (reads, call) in READERS.items():
        if artifact in reads:
            with pytest.raises(CorruptArtifactError, match=said) as caught:
                call(workspace)
            assert str(caught.value.hint).startswith(f"elfs {maker(artifact)} "), name
    (finding,) = [finding for finding in Workspace.open(workspace).verify() if finding.artifact == artifact]
    assert finding.file == f"{artifact}.safetensors"
