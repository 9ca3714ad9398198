import tarfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from elfs.config import EmbedConfig
from elfs.data.pool_size import most_images


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of five pictures, a list of three of them, a shard of four, three rows, all in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool/deep").mkdir(parents=True)
    for name in ("a.png", "b.JPG", "deep/c.png", "deep/d", "deep/e.tif", ".hidden.png", "labels.csv"):
        (tmp_path / "pool" / name).write_bytes(b"x")
    (tmp_path / "pool/deep/loop").symlink_to(tmp_path / "pool")
    (tmp_path / "list.txt").write_text("a.png\nb.JPG\ndeep/c.png\na.png\n")
    with tarfile.open(tmp_path / "pool.tar", "w") as shard:
        for name in ("0.png", "0.mask.png", "1.png", "1.txt", "2.png"):
            shard.addfile(tarfile.TarInfo(name))
    np.save(tmp_path / "rows.npy", np.ones((3, 2), dtype=np.float32))
    save_file({"embeddings": np.ones((3, 2), dtype=np.float32)}, tmp_path / "rows.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "root", "most"),
    [
        (EmbedConfig(source="folder"), "pool", 5),
        (EmbedConfig(source="folder", limit=2), "pool", 2),
        (EmbedConfig(source="files", files="list.txt"), "pool", 3),
        (EmbedConfig(source="tar"), "pool.tar", 4),
        (EmbedConfig(source="tar:.mask.png"), "pool.tar", 1),
        (EmbedConfig(source="embeddings", embeddings="rows.npy"), None, 3),
        (EmbedConfig(source="embeddings", embeddings="rows.safetensors"), None, 3),
        (EmbedConfig(source="folder", embeddings="rows.npy"), "pool", 3),
        (EmbedConfig(source="digits"), None, 1437),
        (EmbedConfig(source="synthetic:balanced,images=50"), None, 50),
    ],
)
def test_count(place: Path, config: EmbedConfig, root: str | None, most: int) -> None:
    folder = None if root is None else place / root
    assert most_images(config, folder, 10_000) == most
    counted_on = config.source.startswith(("folder", "tar")) and not (config.limit or config.embeddings)
    assert most_images(config, folder, most) == (None if counted_on else most)


@pytest.mark.parametrize(
    ("config", "root"),
    [
        (EmbedConfig(source="folder"), "empty"),
        (EmbedConfig(source="folder"), None),
        (EmbedConfig(source="files", files="-"), "pool"),
        (EmbedConfig(source="files", files="gone.txt"), "pool"),
        (EmbedConfig(source="tar"), "pool"),
        (EmbedConfig(source="tar"), "rows.npy"),
        (EmbedConfig(source="tar"), "gone.tar"),
        (EmbedConfig(source="embeddings", embeddings="list.txt"), None),
        (EmbedConfig(source="cifar10", data_root="empty"), None),
        (EmbedConfig(source="cifar01"), None),
    ],
)
def test_what_is_wrong_is_left_to_embed(place: Path, config: EmbedConfig, root: str | None) -> None:
    (place / "empty").mkdir()
    assert most_images(config, None if root is None else place / root, 10) is None
