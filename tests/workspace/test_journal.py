import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace.draft import Draft, open_draft
from elfs.workspace.journal import settle_journal, write_journal
from elfs.workspace.manifest import JOURNAL_NAME, Manifest
from elfs.workspace.workspace import Workspace

NUM_SHARDS = 3
KEY = "sha256:" + "ab" * 32


def fill(draft: Draft, value: int) -> None:
    for index in range(NUM_SHARDS):
        draft.save("embeddings", {"embeddings": np.full((2, 2), value)}, shard=(index, NUM_SHARDS))


@pytest.mark.parametrize("moved", range(NUM_SHARDS + 1))
def test_an_interrupted_commit_goes_back_into_its_draft(
    builder: Any, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    workspace: Workspace = builder.workspace
    builder.commit("embed", "embeddings", {"embeddings": np.ones((9, 9))})
    draft = open_draft(workspace, "embed", KEY)
    fill(draft, 7)
    saved = {path.name: path.read_bytes() for path in draft.directory.rglob("*.safetensors")}
    replace, left = os.replace, [moved]

    def replace_some(source: Path, target: Path) -> None:
        if Path(target).suffix == ".safetensors":
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "Input/output error")
        elif moved == NUM_SHARDS and left[0] == 0:  # the manifest, last of all
            raise OSError(5, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_some)
        with pytest.raises(StorageError, match="Input/output error"):
            draft.commit("embed", **builder.provenance("embed"))
    again = Workspace.open(workspace.path)
    assert not again.has("embeddings")
    again.clean_leftovers()
    assert sorted(os.listdir(workspace.path)) == ["manifest.json", "partial"]
    resumed = open_draft(again, "embed", KEY)
    assert all(resumed.has_shard("embeddings", (index, NUM_SHARDS)) for index in range(NUM_SHARDS))
    assert {path.name: path.read_bytes() for path in draft.directory.rglob("*.safetensors")} == saved
    resumed.commit("embed", **builder.provenance("embed"))
    assert again.verify() == []
    assert len(again.manifest.artifacts["embeddings"].files) == NUM_SHARDS
    assert not (workspace.path / "partial").exists()


def test_files_whose_draft_is_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "selections" / "x").mkdir(parents=True)
    for name in ("old.csv", "new.csv", "selections/x/new.csv", "stranger.csv"):
        (tmp_path / name).write_bytes(b"1")
    waiting = "partial/embed/0123/artifacts/a/"
    write_journal(
        tmp_path, ["old.csv", "gone.csv"], {name: waiting + name for name in ("new.csv", "selections/x/new.csv")}
    )
    settle_journal(tmp_path, Manifest())
    assert os.listdir(tmp_path) == ["stranger.csv"]
    settle_journal(tmp_path, Manifest())


def test_an_interrupted_removal_is_finished(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.commit("select/x", "selections/x", {"indices": np.arange(3)})
    path = builder.workspace.path

    def fail(*_: object) -> None:
        raise OSError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        with pytest.raises(StorageError, match="cannot remove"):
            builder.workspace.remove("select/x")
    again = Workspace.open(path)
    assert not again.has("selections/x")
    assert (path / "selections" / "x" / "indices.safetensors").exists()
    again.clean_leftovers()
    assert os.listdir(path) == ["manifest.json"]


@pytest.mark.parametrize(
    "journal",
    [
        [],
        {"doomed": []},
        {"doomed": {}, "moved": {}},
        {"doomed": [], "moved": []},
        {"doomed": [1], "moved": {}},
        {"doomed": ["../victim"], "moved": {}},
        {"doomed": ["/etc/victim"], "moved": {}},
        {"doomed": ["manifest.json"], "moved": {}},
        {"doomed": [], "moved": {"../victim": "partial/x"}},
        {"doomed": [], "moved": {"victim": "../x"}},
        {"doomed": [], "moved": {"victim": "x"}},
        {"doomed": [], "moved": {"victim": None}},
    ],
)
def test_a_hostile_journal_is_refused(tmp_path: Path, journal: Any) -> None:
    root = tmp_path / "ws"
    (root / "partial").mkdir(parents=True)
    (root / JOURNAL_NAME).write_text(json.dumps(journal))
    for victim in (tmp_path / "victim", root / "victim", root / "manifest.json"):
        victim.write_bytes(b"1")
    with pytest.raises(CorruptArtifactError, match=r"journal\.json is no journal of this workspace") as info:
        settle_journal(root, Manifest())
    assert info.value.hint == f"rm {root}/{JOURNAL_NAME}"
    assert all(path.exists() for path in (tmp_path / "victim", root / "victim", root / "manifest.json"))


def test_a_journal_does_not_follow_links_out(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    root.mkdir()
    (tmp_path / "victim").write_bytes(b"1")
    (root / "out").symlink_to(tmp_path)
    write_journal(root, ["out/victim"], {})
    with pytest.raises(CorruptArtifactError, match="leads out of the workspace"):
        settle_journal(root, Manifest())
    assert (tmp_path / "victim").exists()
