"""Neighbours of a pool: what is kept when a run is killed, what ranks share, how inverted lists are judged."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from elfs.config import EmbedConfig
from elfs.data.samples import Outcome, SampleTable
from elfs.errors import InputDataError, UsageError
from elfs.ops.database import Database
from elfs.ops.inverted_lists import build_index, recall
from elfs.ops.neighbors import cosine_neighbors, exact_neighbors
from elfs.parallel.ranks import ALONE, Ranks
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Job
from elfs.stages.embedding import neighbors as neighbor_search
from elfs.stages.embedding.neighbors import write_neighbors
from elfs.workspace.draft import Draft
from elfs.workspace.tensors import RowArray
from elfs.workspace.workspace import Workspace
from tests.chain import Interruption, make_embeddings, run_chain
from tests.ranks import in_ranks

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is not installed")

NUM_ROWS = 130
LEFT_OUT = [0, 3, 64, 65, 129]
"""Images that cannot be selected: broken ones, and two of the test split."""


def pool(num_rows: int = NUM_ROWS) -> tuple[SampleTable, RowArray]:
    """Return samples of which some cannot be selected, and embeddings in two files, NaN where there is none."""
    values = np.random.default_rng(0).normal(0, 1, (num_rows, 6)).astype(np.float16)
    values[70:90] = values[70]  # copies
    values[[0, 3, 129]] = np.nan
    table = SampleTable.from_ids([f"{row:03d}" for row in range(num_rows)], np.isin(np.arange(num_rows), [64, 65]), 1)
    outcome = np.full(num_rows, Outcome.OK)
    outcome[[0, 3, 129]] = Outcome.BROKEN
    return table.with_outcomes(outcome, dict.fromkeys((0, 3, 129), "cut off")), RowArray([values[:50], values[50:]])


def job_in(folder: Path, **runtime: Any) -> Job:
    folder.mkdir(exist_ok=True)
    nowhere = cast(Workspace, None)
    return Job(nowhere, Draft(nowhere, "embed", folder), Runtime(devices="cpu", **runtime))


def search(folder: Path, *, ranks: Ranks = ALONE, neighbors: int = 4, method: str = "auto", **runtime: Any) -> Any:
    job = job_in(folder, ranks=ranks, **runtime)
    return write_neighbors(job, *pool(), EmbedConfig(neighbors=neighbors, neighbor_search=method))


def search_in_rank(ranks: Ranks, *folders: Path) -> list[Any]:
    return [search(folder, ranks=ranks, method=folder.name.rpartition("-")[2]) for folder in folders]


def found(folder: Path) -> dict[str, np.ndarray]:
    return Draft(cast(Workspace, None), "embed", folder).load("neighbors")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "artifacts").rglob("*.safetensors"))}


def pieces_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "pieces" / "neighbors").glob("*.json")}


def test_neighbours_are_row_numbers_of_images_that_can_be_selected(tmp_path: Path) -> None:
    assert search(tmp_path) == {"neighbors": 4, "neighbor_search": "exact"}
    table, embeddings = pool()
    rows = np.flatnonzero(table.eligible())
    assert sorted(set(range(NUM_ROWS)) - set(rows.tolist())) == LEFT_OUT
    positions, similarity = cosine_neighbors(embeddings.take(rows), 4, device="cpu")
    tensors = found(tmp_path)
    np.testing.assert_array_equal(tensors["indices"][rows], rows[positions.numpy()])
    np.testing.assert_array_equal(tensors["similarity"][rows], similarity.numpy())
    assert (tensors["indices"][LEFT_OUT] == -1).all()
    assert np.isnan(tensors["similarity"][LEFT_OUT]).all()
    assert (tensors["indices"].dtype.name, tensors["similarity"].dtype.name) == ("int32", "float32")


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 7, 125])
def test_rounds_change_nothing(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search(tmp_path / "one")
    monkeypatch.setattr(neighbor_search, "queries_at_once", lambda num_dims, k: at_once)
    search(tmp_path / "many")
    assert len(pieces_of(tmp_path / "many")) == -(-125 // at_once)
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


@pytest.mark.slow
@needs_faiss
def test_ranks_write_what_one_process_writes_and_go_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three ranks: from nothing, after one alone was stopped, with less to do than ranks, by inverted lists."""
    for method in ("exact", "ivf"):
        search(tmp_path / f"one-{method}", method=method)
    monkeypatch.setattr(neighbor_search, "queries_at_once", lambda num_dims, k: 20)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "stopped-exact", method="exact", progress=Interruption("embed: neighbours", 60))
    before = pieces_of(tmp_path / "stopped-exact")
    assert 2 <= len(before) <= 4
    monkeypatch.setattr(neighbor_search, "queries_at_once", lambda num_dims, k: 1)
    search(tmp_path / "lacking-exact", method="exact")
    lost = sorted((tmp_path / "lacking-exact" / "pieces" / "neighbors").glob("*.json"))[40]
    lost.unlink()
    folders = [tmp_path / name for name in ("new-exact", "stopped-exact", "lacking-exact", "new-ivf")]
    facts = in_ranks(3, search_in_rank, *folders)
    assert facts[0] == facts[1] == facts[2]
    for folder in folders[:3]:
        assert files_of(folder) == files_of(tmp_path / "one-exact")
    assert files_of(folders[3]) == files_of(tmp_path / "one-ivf")
    after = pieces_of(folders[1])
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 3
    assert lost.exists()


def test_second_run_looks_for_nothing_and_other_settings_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(database: Any, queries: torch.Tensor, **options: Any) -> Any:
        asked.append(len(queries))
        return exact_neighbors(database, queries, **options)

    monkeypatch.setattr(neighbor_search, "exact_neighbors", watched)
    for neighbors, expected in ((4, [125]), (4, []), (5, [125]), (4, [])):
        asked.clear()
        search(tmp_path, neighbors=neighbors)
        assert asked == expected
        assert found(tmp_path)["indices"].shape == (NUM_ROWS, neighbors)
    table, embeddings = pool()
    values = embeddings.read(0, NUM_ROWS)
    write_neighbors(job_in(tmp_path), table, RowArray([values]), EmbedConfig(neighbors=4))
    assert asked == []  # the same values in other files
    values[1, 2] += 1
    write_neighbors(job_in(tmp_path), table, RowArray([values]), EmbedConfig(neighbors=4))
    assert asked == [125]
    outcome = np.where(np.arange(NUM_ROWS) == 7, Outcome.BROKEN, table.outcome)
    fewer = table.with_outcomes(outcome, table.reasons() | {7: "cut off"})
    write_neighbors(job_in(tmp_path), fewer, RowArray([values]), EmbedConfig(neighbors=4))
    assert asked == [125, 124]


def test_damaged_piece_is_made_again(tmp_path: Path) -> None:
    search(tmp_path)
    expected, said = files_of(tmp_path), list[str]()
    piece = next((tmp_path / "pieces" / "neighbors").glob("*.safetensors"))
    data = bytearray(piece.read_bytes())
    data[-1] ^= 1
    piece.write_bytes(data)
    search(tmp_path, warn=said.append)
    assert said == [f"{piece.name} is damaged: its neighbours are looked for again."]
    assert files_of(tmp_path) == expected


def test_large_pools_have_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search(tmp_path / "one")
    monkeypatch.setattr(neighbor_search, "FILE_ROWS", 60)
    search(tmp_path / "three")
    draft = Draft(cast(Workspace, None), "embed", tmp_path / "three")
    parts = [draft.load("neighbors", (number, 3)) for number in range(3)]
    assert [len(part["indices"]) for part in parts] == [60, 60, 10]
    for name, expected in found(tmp_path / "one").items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)


@pytest.mark.slow
def test_chain_reads_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "source": "embeddings",
        "embeddings": str(make_embeddings(tmp_path / "own.npy")),
        "encoder": None,
    }
    whole = run_chain(tmp_path / "whole", **options)
    monkeypatch.setattr(neighbor_search, "FILE_ROWS", 25)
    parts = run_chain(tmp_path / "parts", **options)
    assert len(Workspace.open(tmp_path / "parts").manifest.artifacts["neighbors"].files) == 3
    for stage, outcome in whole.items():
        assert parts[stage].summary == outcome.summary
    for artifact in ("heads", "scores"):
        first, second = (Workspace.open(tmp_path / name).arrays(artifact) for name in ("whole", "parts"))
        for name, values in first.items():
            np.testing.assert_array_equal(second[name], values)


def test_progress_counts_every_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_search, "queries_at_once", lambda num_dims, k: 9)
    seen = Interruption("embed: neighbours", 10**9)
    search(tmp_path, progress=seen)
    assert (seen.current, seen.done) == ("embed: neighbours", 125)


def clustered() -> tuple[SampleTable, RowArray]:
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (40, 16))
    values = (centres[random.integers(40, size=4000)] + random.normal(0, 0.5, (4000, 16))).astype(np.float16)
    return SampleTable.from_ids([f"{row:04d}" for row in range(4000)], 0, 1), RowArray([values])


@needs_faiss
def test_inverted_lists_find_what_they_say(tmp_path: Path) -> None:
    table, embeddings = clustered()
    facts = write_neighbors(job_in(tmp_path), table, embeddings, EmbedConfig(neighbors=10, neighbor_search="ivf"))
    assert (facts["neighbors"], facts["neighbor_search"], facts["neighbor_lists"]) == (10, "ivf", 62)
    assert facts["neighbor_recall"] >= 0.95
    assert 8 <= facts["neighbor_probes"] < 62
    exact = cosine_neighbors(embeddings.read(0, 4000), 10, device="cpu")[0].long()
    indices = torch.from_numpy(np.array(found(tmp_path)["indices"])).long()
    assert recall(indices, exact) == pytest.approx(facts["neighbor_recall"], abs=0.015)


@needs_faiss
def test_inverted_lists_are_built_once_and_again_for_another_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Database] = []

    def watched(database: Database, *given: Any, **options: Any) -> Any:
        built.append(database)
        return build_index(database, *given, **options)

    monkeypatch.setattr(neighbor_search, "build_index", watched)
    config = EmbedConfig(neighbors=10, neighbor_search="ivf")
    with pytest.raises(KeyboardInterrupt):
        write_neighbors(job_in(tmp_path, progress=Interruption("embed: neighbours", 1)), *clustered(), config)
    facts = write_neighbors(job_in(tmp_path), *clustered(), config)
    assert (len(built), facts["neighbor_lists"]) == (1, 62)
    write_neighbors(job_in(tmp_path), *clustered(), dataclasses.replace(config, seed=1))
    assert len(built) == 2


@needs_faiss
def test_auto_takes_inverted_lists_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert neighbor_search.EXACT_ROWS == {"cpu": 200_000, "cuda": 20_000_000}
    for limit, expected in ((125, "exact"), (124, "ivf")):
        monkeypatch.setattr(neighbor_search, "EXACT_ROWS", {"cpu": limit})
        assert search(tmp_path)["neighbor_search"] == expected
    assert search(tmp_path, method="exact")["neighbor_search"] == "exact"


def test_without_faiss_large_pools_are_compared_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_search, "EXACT_ROWS", {"cpu": 124})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said: list[str] = []
    assert search(tmp_path, warn=said.append) == {"neighbors": 4, "neighbor_search": "exact"}
    assert said == [
        "125 images are compared in all pairs, which takes long. pip install faiss-cpu: it finds nearly all neighbours "
        "sooner."
    ]
    with pytest.raises(UsageError, match=r"^--neighbor-search ivf needs FAISS, which is not installed\.$"):
        search(tmp_path, method="ivf")


def test_unknown_search_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown value for --neighbor-search: 'fast'"):
        EmbedConfig(neighbor_search="fast")


def test_too_many_neighbours_and_too_few_images(tmp_path: Path) -> None:
    said: list[str] = []
    assert search(tmp_path, neighbors=200, warn=said.append)["neighbors"] == 124
    assert said == ["125 images have at most 124 neighbours: --neighbors 200 is too many."]
    table = SampleTable.from_ids(["a", "b"], [0, 1], 1)
    with pytest.raises(InputDataError, match=r"^only 1 usable training images: neighbours need at least 2\.$"):
        write_neighbors(job_in(tmp_path), table, RowArray([np.ones((2, 2), np.float16)]), EmbedConfig())
