from pathlib import Path

import pytest

from elfs.data.sources.path_table import split_by_group
from elfs.data.sources.shards import find_shards, shard_splits
from elfs.errors import InputDataError


def test_shards_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.tar", "a/z.TAR", "a/.hidden.tar", ".git/c.tar", "a.txt", "a.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths, names = find_shards(tmp_path, ".tar")
    assert names == ("a", "a/z", "b")
    assert paths == (tmp_path / "a.tar", tmp_path / "a" / "z.TAR", tmp_path / "b.tar")
    assert find_shards(tmp_path / "b.tar", ".tar") == ((tmp_path / "b.tar",), ("",))


def test_no_shard(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"has no \.tar\.$"):
        find_shards(tmp_path, ".tar")
    with pytest.raises(InputDataError, match=r"absent does not exist; expected a folder of files that end in, or a"):
        find_shards(tmp_path / "absent", ".tar")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"], [1, 1, 0, 0, 0, 0]),
        (["Val/000", "train/000", "train/001"], [1, 1, 0, 0, 0, 0]),
        (["train", "validation", "test"], [0, 0, 1, 1, 1, 1]),
        (["train-0", "train-1", "train-2"], [0] * 6),
        (["000", "001", "train"], [0] * 6),
        (["extra-0", "test-0", "train-0"], [0] * 6),
    ],
)
def test_splits_follow_the_first_word(names: list[str], expected: list[int]) -> None:
    assert shard_splits(names, [2, 2, 2]).tolist() == expected


def test_splits_of_groups_of_any_length() -> None:
    assert split_by_group([(b"train", 0), (b"val", 1), (b"train", 1)], 4).tolist() == [0, 0, 0, 0]
    assert split_by_group([(b"test", 0), (b"train", 3)], 4).tolist() == [1, 1, 1, 0]
    assert split_by_group([], 0).tolist() == []
