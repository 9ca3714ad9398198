import csv
import io
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.annotations.annotating import annotate
from elfs.catalog import EXPORT_FORMATS
from elfs.data.id_lists import read_ids
from elfs.data.samples import SampleTable
from elfs.delivery.chosen import load_selection
from elfs.delivery.export import prepare_export
from elfs.delivery.export_options import ExportOptions, format_of
from elfs.errors import InputDataError, UsageError
from tests.chain import ROOT

ODD = (b"a\nb.png", b'quote".png', b"comma,.png", "\N{SNOWMAN} x.png".encode(), b"\xff.png", b"plus+#%.png", b"-n.png")


def document(shop: Any, **options: Any) -> bytes:
    return prepare_export(shop.path, None, ExportOptions(**options)).document()


def test_every_format_of_the_catalogue_can_be_written(shop: Any, tmp_path: Path) -> None:
    for name in EXPORT_FORMATS:
        prepare_export(shop.path, None, ExportOptions(format=name)).write(tmp_path / name, force=False)
        assert (tmp_path / name).is_dir() == (name in ("images", "label-studio", "cvat", "fiftyone"))


def test_csv_is_the_file_of_the_selection(shop: Any) -> None:
    assert document(shop) == (shop.path / "selections/quarter/selection.csv").read_bytes()


def test_txt_gives_paths_that_exist(shop: Any) -> None:
    paths = document(shop, format="txt").decode().splitlines()
    assert paths[0] == f"{shop.root}/a/08.png"
    assert all(Path(path).is_file() for path in paths)
    assert len(paths) == 5


def test_txt_takes_a_prefix(shop: Any) -> None:
    assert document(shop, format="txt", prefix="s3://x/").startswith(b"s3://x/a/08.png\ns3://x/a/09.png\n")
    assert document(shop, format="txt", prefix="").startswith(b"a/08.png\n")


def test_odd_names_survive_as_nul_separated_bytes(odd: Callable[..., Any]) -> None:
    shop = odd(*ODD)
    paths = document(shop, format="txt", null=True).split(b"\0")
    assert sorted(paths[:-1]) == sorted(os.fsencode(shop.root) + b"/" + name for name in ODD)
    assert paths[-1] == b""
    with pytest.raises(UsageError, match=r"'.*a\\nb.png' has a line break in it .*use --null"):
        document(shop, format="txt")


def test_json_says_all_that_is_known(shop: Any) -> None:
    found = json.loads(document(shop, format="json"))
    assert {key: found[key] for key in ("selection", "method", "key", "budget")} == {
        "selection": "quarter",
        "method": "elfs",
        "key": "aum",
        "budget": "0.25",
    }
    assert found["images"][1] == {
        "rank": 2,
        "id": "a/09.png",
        "path": f"{shop.root}/a/09.png",
        "pseudo_label": 0,
        "score": 9.0,
        "why": "45.0% of the pool is harder by aum; the hardest 40.0% are pruned and the next hardest are kept",
    }


def test_odd_names_survive_in_json(odd: Callable[..., Any]) -> None:
    found = json.loads(document(odd(*ODD), format="json"))
    assert sorted(os.fsencode(image["id"]) for image in found["images"]) == sorted(ODD)


def test_label_studio_tasks(shop: Any) -> None:
    tasks = json.loads(document(shop, format="label-studio"))
    assert len(tasks) == 5
    assert tasks[0] == {
        "data": {"image": f"/data/local-files/?d={shop.root.name}/a/08.png", "elfs_id": "a/08.png"},
        "meta": {"rank": 1, "score": 8.0},
    }


def test_label_studio_gets_the_pseudo_label_only_where_it_is_asked_for(shop: Any) -> None:
    [prediction] = json.loads(document(shop, format="label-studio", pre_annotate=True))[0]["predictions"]
    [result] = prediction["result"]
    assert (result["from_name"], result["to_name"], result["type"]) == ("choice", "image", "choices")
    assert result["value"] == {"choices": ["cluster 2"]}


def test_pre_annotation_needs_pseudo_labels(empty: Any) -> None:
    empty.draw(["x.png"])
    empty.embed()
    empty.select(method="random", budget="1", name="chance")
    with pytest.raises(UsageError, match="--pre-annotate needs pseudo-labels, and selection 'chance' was made without"):
        document(empty, format="label-studio", pre_annotate=True)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (None, "/data/local-files/?d={root}/plus%2B%23%25.png"),
        ("https://host/", "https://host/plus%2B%23%25.png"),
        ("s3://bucket/", "s3://bucket/plus+#%.png"),
    ],
)
def test_addresses_are_quoted_where_they_are_web_addresses(
    odd: Callable[..., Any], prefix: str | None, expected: str
) -> None:
    shop = odd(b"plus+#%.png")
    [task] = json.loads(document(shop, format="label-studio", prefix=prefix))
    assert task["data"]["image"] == expected.format(root=shop.root.name)


def test_cvat_manifest(shop: Any) -> None:
    lines = [json.loads(line) for line in document(shop, format="cvat", prefix="set/").decode("ascii").splitlines()]
    assert lines[:3] == [
        {"version": "1.1"},
        {"type": "images"},
        {"name": "set/a/08", "extension": ".png", "width": 12, "height": 8},
    ]
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("name", "stem", "extension"),
    [(b"a.b/c", "a.b/c", ""), (b"x.tar.png", "x.tar", ".png"), (b"d/e.f.jpg", "d/e.f", ".jpg")],
)
def test_cvat_splits_the_extension_off(odd: Callable[..., Any], name: bytes, stem: str, extension: str) -> None:
    line = json.loads(document(odd(name), format="cvat").splitlines()[2])
    assert (line["name"], line["extension"]) == (stem, extension)


def test_images_are_copied_and_come_with_a_table_to_fill_in(shop: Any, tmp_path: Path) -> None:
    prepare_export(shop.path, None, ExportOptions(format="images")).write(tmp_path / "out", force=False)
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    expected = ["a/08.png", "a/09.png", "b/00.png", "b/01.png", "b/02.png"]
    assert found == [*(f"images/{name}" for name in expected), "labels.csv"]
    for name in expected:
        assert (tmp_path / "out/images" / name).read_bytes() == (shop.root / name).read_bytes()
    lines = list(csv.reader(io.StringIO((tmp_path / "out/labels.csv").read_text())))
    assert lines == [["id", "label"], *([name, ""] for name in expected)]


def test_odd_names_survive_as_files(odd: Callable[..., Any], tmp_path: Path) -> None:
    shop = odd(*ODD)
    prepare_export(shop.path, None, ExportOptions(format="images")).write(tmp_path / "out", force=False)
    assert sorted(os.listdir(os.fsencode(tmp_path / "out/images"))) == sorted(ODD)
    table = SampleTable.from_tensors(shop.workspace().arrays("samples"))
    ids = read_ids(tmp_path / "out/labels.csv")
    assert sorted(table.rows_of(ids).tolist()) == list(range(len(ODD)))


def test_an_image_that_is_gone_leaves_nothing_behind(shop: Any, tmp_path: Path) -> None:
    (shop.root / "b/02.png").unlink()
    export = prepare_export(shop.path, None, ExportOptions(format="images"))
    with pytest.raises(InputDataError, match=r"the image 'b/02.png' can no longer be read"):
        export.write(tmp_path / "out/deep", force=False)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["images", "cvat", "coco"])
def test_formats_that_need_pictures_refuse_embeddings(empty: Any, tmp_path: Path, name: str) -> None:
    empty.embed(SampleTable.from_ids(["x"], 0, 0), source="embeddings", has_images=False)
    empty.select(method="random", budget="1", name="one")
    with pytest.raises(InputDataError, match=f"--format {name} needs images, but"):
        prepare_export(empty.path, None, ExportOptions(format=name)).write(tmp_path / "out", force=False)
    assert document(empty, format="txt") == b"x\n"


def test_images_are_no_document(shop: Any) -> None:
    with pytest.raises(UsageError, match="--format images makes a folder, expected --output FOLDER"):
        document(shop, format="images")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "cvta"}, r"unknown export format 'cvta'\. Did you mean 'cvat'\?"),
        ({"format": "csv", "prefix": "x"}, "--prefix has no meaning for --format csv, only for txt, json"),
        (
            {"format": "txt", "pre_annotate": True},
            "--pre-annotate has no meaning for --format txt, only for label-",
        ),
        ({"format": "json", "null": True}, "--null has no meaning for --format json, only for txt"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**options)


def test_what_is_gone_leaves_the_lists_whole_and_no_picture(shop: Any, tmp_path: Path) -> None:
    texts = ("csv", "txt", "json", "jsonl", "label-studio")
    before = {name: prepare_export(shop.path, None, ExportOptions(format=name)).document() for name in texts}
    (shop.root / "a/09.png").unlink()
    shop.embed()
    after = {name: prepare_export(shop.path, None, ExportOptions(format=name)).document() for name in texts}
    assert after == before
    prepare_export(shop.path, None, ExportOptions(format="images")).write(tmp_path / "out", force=False)
    labels = "id,label\na/08.png,\nb/00.png,\nb/01.png,\nb/02.png,\n"
    assert (tmp_path / "out/labels.csv").read_text() == labels
    assert not (tmp_path / "out/images/a/09.png").exists()
    manifest = prepare_export(shop.path, None, ExportOptions(format="cvat")).document()
    assert len(manifest.splitlines()) == 2 + 4


def test_cvat_gets_the_order_of_the_ranks(shop: Any) -> None:
    shop.select(method="random", budget="1.0", name="mixed")
    export = prepare_export(shop.path, "mixed", ExportOptions(format="cvat"))
    lines = [json.loads(line) for line in export.document().splitlines()[2:]]
    ranked = [image.id for image in load_selection(shop.path, "mixed").images]
    assert [line["name"] + line["extension"] for line in lines] == ranked != sorted(ranked)
    assert "sorting method Predefined" in str(export.note(Path("manifest.jsonl")))


def test_json_lines_say_what_json_says(shop: Any) -> None:
    lines = [json.loads(line) for line in document(shop, format="jsonl").splitlines()]
    assert lines == json.loads(document(shop, format="json"))["images"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("a.csv", "csv"),
        ("a.JSON", "json"),
        ("a.b.jsonl", "jsonl"),
        ("x/a.txt", "txt"),
        ("a.parquet", "parquet"),
        ("-", "csv"),
        ("a", "csv"),
    ],
)
def test_the_suffix_decides_the_format(output: str, expected: str) -> None:
    assert format_of(output) == expected


@pytest.mark.parametrize("output", ["a.pdf", "a.xml"])
def test_a_suffix_of_no_format_is_refused(output: str) -> None:
    with pytest.raises(UsageError, match=rf"^--output {output} does not tell the format, expected \.csv, \.txt,"):
        format_of(output)


@pytest.mark.parametrize(("name", "file"), [("label-studio", "tasks.json"), ("cvat", "m.jsonl")])
def test_a_suffix_asks_for_the_one_file_of_a_folder(shop: Any, tmp_path: Path, name: str, file: str) -> None:
    export = prepare_export(shop.path, None, ExportOptions(format=name))
    export.write(tmp_path / file, force=False)
    assert (tmp_path / file).read_bytes() == export.document()


def test_a_read_only_workspace_is_enough(shop: Any, tmp_path: Path) -> None:
    places = [shop.path, *shop.path.rglob("*")]
    for place in places:
        place.chmod(stat.S_IRUSR | (stat.S_IXUSR if place.is_dir() else 0))
    before = {place: place.stat().st_mtime_ns for place in places}
    try:
        prepare_export(shop.path, None, ExportOptions(format="images")).write(tmp_path / "out", force=False)
        assert {place: place.stat().st_mtime_ns for place in [shop.path, *shop.path.rglob("*")]} == before
    finally:
        for place in places:
            place.chmod(stat.S_IRWXU)


def test_json_names_the_class_where_one_was_learned(shop: Any, tmp_path: Path) -> None:
    assert "class" not in json.loads(document(shop, format="json"))["images"][0]
    (tmp_path / "said.csv").write_text("id,label\na/00.png,dog\na/01.png,cat\n")
    annotate(shop.path, tmp_path / "said.csv")
    shop.label(20, names=["cat", "dog", "cluster 2"])
    shop.select(method="elfs", budget="0.25", hard_rate=0.4, name="learned")
    for image in json.loads(document(shop, format="json"))["images"]:
        assert image["class"] == ["cat", "dog", "cluster 2"][image["pseudo_label"]]


@pytest.mark.filterwarnings("ignore")
def test_the_documents_lines_of_python_read_what_is_exported(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chosen.jsonl").write_bytes(document(shop, format="jsonl"))
    hugging_face, torch = re.findall(r"```python\n(.*?)```", (ROOT / "docs/annotating.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(hugging_face + torch, names)
    assert names["chosen"][0]["image"].getpixel((0, 0)) == (8, 100, 200)
    chosen = names["Chosen"]("chosen.jsonl", lambda image: image.getpixel((0, 0)))
    assert [chosen[number] for number in range(len(chosen))] == [((row, 100, 200), row % 3) for row in range(8, 13)]
