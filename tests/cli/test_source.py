from pathlib import Path

import pytest

from elfs.cli._source import Source, choose_source
from elfs.errors import UsageError


def choose(
    source: str | None, *, embeddings: bool = False, recorded: str | None = None, root: Path | None = None
) -> Source:
    return choose_source(source, embeddings=embeddings, recorded=recorded, root=root)


def test_a_data_set_by_name_wins_over_a_folder() -> None:
    Path("digits").mkdir()
    assert choose("digits") == Source("digits")
    assert choose("./digits") == Source("folder", Path.cwd() / "digits")


def test_nothing_means_what_was_recorded() -> None:
    assert choose(None, recorded="folder") == Source("folder")


def test_embeddings_alone_need_no_images() -> None:
    assert choose(None, embeddings=True, recorded="digits") == Source("embeddings")


def test_embeddings_may_belong_to_images() -> None:
    assert choose("digits", embeddings=True) == Source("digits")


def test_root_says_where_the_folder_is_now() -> None:
    Path("moved").mkdir()
    assert choose(None, recorded="folder", root=Path("moved")) == Source("folder", Path.cwd() / "moved")
    Path("old").mkdir()
    assert choose("old", root=Path("moved")).root == Path.cwd() / "moved"


def test_a_misspelt_name_is_neither() -> None:
    with pytest.raises(
        UsageError, match=r"no such folder: 'digit', and no data set of this name\. Did you mean 'digits'"
    ):
        choose("digit")


def test_a_file_is_no_folder() -> None:
    Path("x.npy").touch()
    with pytest.raises(UsageError, match=r"SOURCE is the file 'x\.npy', expected a folder of images; .* --embeddings"):
        choose("x.npy")


def test_nothing_typed_and_nothing_recorded() -> None:
    with pytest.raises(UsageError, match="no SOURCE: expected a folder of images, a data set") as caught:
        choose(None)
    assert caught.value.hint == "elfs embed digits"


def test_a_root_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="--root is 'gone': there is no such folder"):
        choose(None, recorded="folder", root=Path("gone"))
