from pathlib import Path

import pytest

from elfs.data.source_choice import SourceChoice, choose_source
from elfs.errors import UsageError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def choose(
    source: str | None,
    *,
    embeddings: bool = False,
    recorded: str | None = None,
    root: Path | None = None,
    files: bool = False,
) -> SourceChoice:
    return choose_source(source, embeddings=embeddings, recorded=recorded, root=root, files=files)


def test_a_data_set_by_name_wins_over_a_folder() -> None:
    Path("digits").mkdir()
    assert choose("digits") == SourceChoice("digits")
    assert choose("./digits") == SourceChoice("folder", Path.cwd() / "digits")


def test_nothing_means_what_was_recorded() -> None:
    assert choose(None, recorded="folder") == SourceChoice("folder")


def test_embeddings_alone_need_no_images() -> None:
    assert choose(None, embeddings=True, recorded="digits") == SourceChoice("embeddings")


def test_embeddings_may_belong_to_images() -> None:
    assert choose("digits", embeddings=True) == SourceChoice("digits")


def test_root_says_where_the_folder_is_now() -> None:
    Path("moved").mkdir()
    assert choose(None, recorded="folder", root=Path("moved")) == SourceChoice("folder", Path.cwd() / "moved")
    Path("old").mkdir()
    assert choose("old", root=Path("moved")).root == Path.cwd() / "moved"


def test_a_misspelt_name_is_neither() -> None:
    with pytest.raises(
        UsageError, match=r"no such folder: 'digit', and no data set of this name\. Did you mean 'digits'"
    ):
        choose("digit")


def test_a_file_is_no_folder() -> None:
    Path("x.npy").touch()
    with pytest.raises(UsageError, match=r"SOURCE is the file 'x\.npy', expected a folder of .* --files, .* --embed"):
        choose("x.npy")


def test_nothing_typed_and_nothing_recorded() -> None:
    with pytest.raises(UsageError, match="no SOURCE: expected a folder of images, a data set by name") as caught:
        choose(None)
    assert caught.value.hint == "elfs embed FOLDER"


def test_a_root_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="--root is 'gone': there is no such folder"):
        choose(None, recorded="folder", root=Path("gone"))


def test_a_list_lies_below_a_folder_or_here() -> None:
    Path("photos").mkdir()
    assert choose("photos", files=True) == SourceChoice("files", Path.cwd() / "photos")
    assert choose(None, files=True, recorded="digits") == SourceChoice("files", Path.cwd())
    assert choose(None, files=True, embeddings=True) == SourceChoice("files", Path.cwd())
    assert choose(None, files=True, root=Path("photos")) == SourceChoice("files", Path.cwd() / "photos")
    assert choose(None, recorded="files", root=Path("photos")) == SourceChoice("files", Path.cwd() / "photos")


@pytest.mark.parametrize("source", ["digits", "x.tar", "tar:shards", "gone"])
def test_a_list_needs_a_folder(source: str) -> None:
    Path("x.tar").touch()
    with pytest.raises(
        UsageError, match=f"--files lists images below a folder, and SOURCE is '{source}', which is non"
    ):
        choose(source, files=True)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shards_by_prefix_or_by_extension(kind: str) -> None:
    Path("shards").mkdir()
    file = Path(f"shards/a.{kind.upper()}")
    file.touch()
    assert choose(f"{kind}:shards") == SourceChoice(kind, Path.cwd() / "shards")
    assert choose(f"{kind}:{file}") == choose(str(file)) == SourceChoice(kind, Path.cwd() / file)
    assert choose("shards") == SourceChoice("folder", Path.cwd() / "shards")
    assert choose(None, recorded=kind, root=file) == SourceChoice(kind, Path.cwd() / file)
    expected = rf"{kind}:gone: there is no such file or folder\. Expected {kind}:PATH(\[:SUFFIX\])?, "
    with pytest.raises(UsageError, match=expected):
        choose(f"{kind}:gone")


def test_tar_shards_with_the_suffix_of_their_images() -> None:
    Path("shards").mkdir()
    Path("a:.png").mkdir()
    assert choose("tar:shards:.seg.png") == SourceChoice("tar:.seg.png", Path.cwd() / "shards")
    assert choose("tar:a:.png") == SourceChoice("tar", Path.cwd() / "a:.png")
    assert choose("tar:a:.png:.jpg") == SourceChoice("tar:.jpg", Path.cwd() / "a:.png")
    assert choose(None, recorded="tar:.jpg", root=Path("shards")) == SourceChoice("tar:.jpg", Path.cwd() / "shards")
    for wrong in ("tar:gone:.jpg", "tar:shards:jpg", "parquet:shards:.png"):
        with pytest.raises(UsageError, match="there is no such file or folder"):
            choose(wrong)


def test_an_empty_source_is_not_the_current_folder() -> None:
    """As of a variable that a script has not set."""
    with pytest.raises(UsageError, match="SOURCE is empty, expected a folder of images"):
        choose("")
    for kind in ("tar", "parquet"):
        with pytest.raises(UsageError, match=f"{kind}:: there is no such file or folder"):
            choose(f"{kind}:")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst"])
def test_compressed_shards_are_left_to_the_source_to_refuse(name: str) -> None:
    Path(name).touch()
    assert choose(name) == SourceChoice("tar", Path.cwd() / name)


def test_hugging_face_by_folder_or_name() -> None:
    for name in ("one", "many"):
        Path(name).mkdir()
    Path("one", "dataset_info.json").touch()
    Path("many", "dataset_dict.json").touch()
    assert choose("hf:one") == SourceChoice("hf:.", Path.cwd() / "one")
    assert choose("hf:./many:test") == SourceChoice("hf:.:test", Path.cwd() / "many")
    assert choose("hf:user/many") == SourceChoice("hf:user/many")
    assert choose("hf:many2:train[:10%]") == SourceChoice("hf:many2:train[:10%]")
    Path("many2").mkdir()
    assert choose("hf:many2") == SourceChoice("hf:many2")
    for place in ("./many2", "/nowhere:train", ""):
        with pytest.raises(UsageError, match=f"hf:{place}: there is no such folder with a saved data set in it"):
            choose(f"hf:{place}")


@pytest.mark.parametrize("source", ["../photos", "tar:../photos", "parquet:../photos", "../photos/a.tar"])
def test_a_place_lasts_longer_than_the_folder_that_it_was_named_from(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.tar").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for found in (choose(source).root, choose(None, recorded="folder", root=Path("../photos")).root):
        assert found is not None
        assert ".." not in found.parts
        assert found.is_relative_to(tmp_path.resolve() / "photos")
