import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace import documents, files
from elfs.workspace.manifest import (
    Artifact,
    ArtifactFile,
    Manifest,
    Record,
    TensorInfo,
    open_manifest,
    read_manifest,
    write_manifest,
)
from elfs.workspace.records import artifact_digest

DIGEST = "sha256:" + "0" * 64
OTHER = "sha256:" + "f" * 64
FILES = (ArtifactFile("embeddings-00001-of-00002.safetensors", 8, DIGEST), ArtifactFile("log.csv", 0, OTHER))


def example() -> Manifest:
    record = Record(
        "embed", {"limit": None}, {"external:x": "any", "samples": OTHER}, ("embeddings",), {}, 0, False, {}
    )
    tensors = {"embeddings": TensorInfo("float16", (4, 2))}
    artifact = Artifact("embed", FILES, tensors, {"dim": 2}, artifact_digest(FILES))
    return Manifest("/images", {"embed": record}, {"embeddings": artifact}, {"embed": {"seconds": 1.5}})


def test_round_trip() -> None:
    manifest = example()
    data = manifest.to_bytes()
    assert Manifest.parse(data) == manifest
    assert Manifest.parse(data).to_bytes() == data
    assert Manifest.parse(Manifest().to_bytes()) == Manifest()


def test_the_bytes_of_an_empty_manifest() -> None:
    assert Manifest().to_bytes() == (
        b'{\n  "artifacts": {},\n'
        b'  "digest": "sha256:90757240690b4a9281e44c0af0fd59185c5b2737ae811e1c769f8e7af1c1e4c8",\n'
        b'  "format": "elfs-workspace",\n  "format_version": 1,\n'
        b'  "records": {},\n  "runs": {},\n  "source_root": null\n}\n'
    )


def test_a_manifest_without_a_digest_is_taken_as_it_is() -> None:
    value = json.loads(example().to_bytes())
    del value["digest"]
    assert Manifest.parse(json.dumps(value).encode()) == example()


@pytest.mark.slow
def test_whatever_changes_the_meaning_of_a_manifest_is_refused() -> None:
    """Every bit of every byte: what is still a manifest says what it said."""
    data = example().to_bytes()
    refused = same = 0
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            try:
                found = Manifest.parse(bytes(damaged))
            except CorruptArtifactError:
                refused += 1
            else:
                assert found == example()
                same += 1
    assert refused > 20 * same


def test_a_manifest_that_was_edited_says_what_to_do() -> None:
    value = json.loads(example().to_bytes())
    value["records"]["embed"]["seed"] = 7
    with pytest.raises(CorruptArtifactError, match=r"made from all other fields.*or remove its field 'digest'"):
        Manifest.parse(json.dumps(value).encode())


def test_order_of_insertion_does_not_show() -> None:
    manifest = example()
    record = manifest.records["embed"]
    one = Manifest().with_record("a", record, {}, {}).with_record("b", record, {}, {})
    two = Manifest().with_record("b", record, {}, {}).with_record("a", record, {}, {})
    assert one.to_bytes() == two.to_bytes()


def test_artifact_digest() -> None:
    assert artifact_digest(FILES[:1]) == DIGEST
    assert artifact_digest(FILES) == files.digest_json([[file.name, file.digest] for file in FILES])
    assert artifact_digest(FILES) not in (DIGEST, OTHER)


def test_records_come_and_go() -> None:
    manifest = example()
    assert manifest.without_record("embed") == Manifest("/images")
    assert manifest.without_record("other") == manifest
    artifact = manifest.artifacts["embeddings"]
    again = manifest.with_record("embed", manifest.records["embed"], {"new": artifact}, {"seconds": 2})
    assert set(again.artifacts) == {"new"}
    assert again.runs == {"embed": {"seconds": 2}}
    assert manifest.with_source_root(None).source_root is None


Change = Callable[[dict[str, Any]], Any]


def put(path: str, value: Any) -> Change:
    """Return a change that sets the field at a dotted path; a value of ... removes it."""

    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = document
        for name in parents:
            target = target[int(name)] if isinstance(target, list) else target[name]
        if value is ...:
            del target[last]
        else:
            target[last] = value

    return change


RECORD, ARTIFACT = "records.embed", "artifacts.embeddings"
FIRST = f"{ARTIFACT}.files.0"
HOSTILE: list[tuple[Change, str]] = [
    (put("format", "zarr"), "field 'format': expected 'elfs-workspace', got 'zarr'"),
    (put("format", ...), "field 'format': expected 'elfs-workspace', got None"),
    (put("format_version", 2), "field 'format_version': 2 is newer than 1, the newest .*; upgrade elfs"),
    (put("format_version", 0), "field 'format_version': expected 1, got 0"),
    (put("format_version", True), "field 'format_version': expected 1, got True"),
    (put("format_version", "1"), "field 'format_version': expected 1, got '1'"),
    (put("format_version", ...), "field 'format_version': expected 1, got None"),
    (put("runs", ...), r"field 'manifest.json': expected exactly the fields .*runs.*, got \['artifacts'"),
    (put("format_x", 1), "field 'manifest.json': expected exactly the fields"),
    (put("source_root", 1), "field 'source_root': expected a string or null, got 1"),
    (put("records", []), r"field 'records': expected an object, got \[\]"),
    (put("artifacts", 1), "field 'artifacts': expected an object, got 1"),
    (put("runs", None), "field 'runs': expected an object, got None"),
    (put("runs.embed", 1), "field 'runs.embed': expected an object, got 1"),
    (put("runs.label", {}), r"field 'runs': expected some of the records \['embed'\], got \['embed', 'label'\]"),
    (put(RECORD, None), "field 'records.embed': expected an object, got None"),
    (put(f"{RECORD}.extra", 1), "field 'records.embed': expected exactly the fields"),
    (put(f"{RECORD}.stage", "a/../b"), "field 'records.embed.stage': expected a plain relative path"),
    (put(f"{RECORD}.config", "x"), "field 'records.embed.config': expected an object, got 'x'"),
    (put(f"{RECORD}.inputs", []), "field 'records.embed.inputs': expected an object"),
    (
        put(f"{RECORD}.inputs.samples", "abc"),
        "field 'records.embed.inputs.samples': expected sha256:<64 hex>, got 'abc'",
    ),
    (put(f"{RECORD}.inputs.external:x", 3), "field 'records.embed.inputs.external:x': expected a string, got 3"),
    (put(f"{RECORD}.inputs./etc", DIGEST), "field 'records.embed.inputs': expected a plain relative path, got '/etc'"),
    (put(f"{RECORD}.outputs", "embeddings"), "field 'records.embed.outputs': expected a list"),
    (put(f"{RECORD}.outputs", [1]), "field 'records.embed.outputs.0': expected a plain relative path, got 1"),
    (put(f"{RECORD}.outputs", []), "field 'artifacts': expected the outputs of the records"),
    (put(f"{RECORD}.outputs", ["embeddings"] * 2), "field 'artifacts': expected the outputs of the records"),
    (put(f"{RECORD}.versions", {"elfs": 1}), "field 'records.embed.versions.elfs': expected a string, got 1"),
    (put(f"{RECORD}.seed", 0.5), "field 'records.embed.seed': expected an integer or null, got 0.5"),
    (put(f"{RECORD}.seed", True), "field 'records.embed.seed': expected an integer or null, got True"),
    (put(f"{RECORD}.smoke", 0), "field 'records.embed.smoke': expected true or false, got 0"),
    (put(f"{RECORD}.summary", None), "field 'records.embed.summary': expected an object"),
    (put(ARTIFACT, []), "field 'artifacts.embeddings': expected an object"),
    (put(f"{ARTIFACT}.record", "label"), "field 'artifacts': expected the outputs of the records"),
    (put(f"{ARTIFACT}.record", 1), "field 'artifacts.embeddings.record': expected a plain relative path, got 1"),
    (put(f"{ARTIFACT}.digest", DIGEST), "field 'artifacts.embeddings.digest': expected sha256:.*, made from its files"),
    (put(f"{ARTIFACT}.digest", "sha256:0"), "field 'artifacts.embeddings.digest': expected sha256:<64 hex>"),
    (put(f"{ARTIFACT}.metadata", 1), "field 'artifacts.embeddings.metadata': expected an object"),
    (put(f"{ARTIFACT}.files", []), "field 'artifacts.embeddings.files': expected one or more files with sorted"),
    (put(f"{ARTIFACT}.files", {}), "field 'artifacts.embeddings.files': expected a list"),
    (put(f"{FIRST}.name", "z"), "files': expected one or more files with sorted names"),
    (put(f"{FIRST}.name", "log.csv"), "files': expected one or more files with sorted names"),
    (put(f"{FIRST}.num_bytes", -1), "files.0.num_bytes': expected an integer of 0 or more, got -1"),
    (put(f"{FIRST}.num_bytes", True), "files.0.num_bytes': expected an integer of 0 or more, got True"),
    (put(f"{FIRST}.digest", DIGEST.upper()), "files.0.digest': expected sha256:<64 hex>"),
    (put(f"{ARTIFACT}.tensors", []), "field 'artifacts.embeddings.tensors': expected an object"),
    (
        put(f"{ARTIFACT}.tensors.embeddings.dtype", "object"),
        "embeddings.dtype': expected one of bool, .*, got 'object'",
    ),
    (
        put(f"{ARTIFACT}.tensors.embeddings.shape", [-1]),
        "embeddings.shape.0': expected an integer of 0 or more, got -1",
    ),
    (put(f"{ARTIFACT}.tensors.embeddings.shape", 4), "embeddings.shape': expected a list, got 4"),
    (lambda document: document["records"].update({"../x": document["records"]["embed"]}), r"got '\.\./x'"),
    *[
        (put(f"{FIRST}.name", name), "files.0.name': expected a plain relative path, got")
        for name in ("../x", "/etc/passwd", "a/../../x", "C:\\x", "C:/x", "a\\b", "", ".", "a//b", "a\0b", 1, None)
    ],
    *[
        (put(f"{FIRST}.name", name), "files.0.name': expected a name that is not reserved, got")
        for name in ("manifest.json", ".lock", ".lock-holder", "partial/x")
    ],
]


def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(example().to_bytes())
    return value


@pytest.mark.parametrize(("change", "message"), HOSTILE, ids=[f"{n}" for n in range(len(HOSTILE))])
def test_hostile_manifests_are_refused(change: Change, message: str) -> None:
    spoilt = document()
    change(spoilt)
    with pytest.raises(CorruptArtifactError, match=message):
        Manifest.parse(json.dumps(spoilt).encode())


def test_one_file_belongs_to_one_artifact() -> None:
    spoilt = document()
    spoilt["artifacts"]["copy"] = spoilt["artifacts"]["embeddings"]
    spoilt["records"]["embed"]["outputs"] = ["copy", "embeddings"]
    with pytest.raises(CorruptArtifactError, match="expected files that belong to one artifact each"):
        Manifest.parse(json.dumps(spoilt).encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "manifest.json is not valid JSON"),
        (b"[]", r"field 'manifest.json': expected an object, got \[\]"),
        (b'{"format": "elfs-workspace", "format": 1}', "duplicate key 'format'"),
        (b"[" * 100_000, "manifest.json is nested too deeply"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(CorruptArtifactError, match=message):
        Manifest.parse(data)


def test_messages_stay_short() -> None:
    with pytest.raises(CorruptArtifactError, match="got 'x") as info:
        Manifest.parse(json.dumps({"format": "x" * 1_000_000}).encode())
    assert len(info.value.message) < 200


def test_row_17_a_newer_format_says_what_to_do() -> None:
    with pytest.raises(CorruptArtifactError, match=r"newer .* upgrade elfs") as info:
        Manifest.parse(b'{"format": "elfs-workspace", "format_version": 7, "new_field": []}')
    assert info.value.hint == "pip install --upgrade elfs"


def test_reading_and_writing(tmp_path: Path) -> None:
    write_manifest(tmp_path, example())
    assert read_manifest(tmp_path) == example()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    with pytest.raises(StorageError, match=r"cannot read .*manifest\.json"):
        read_manifest(tmp_path / "gone")


def test_reading_names_the_file_and_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_bytes(b"{}")
    with pytest.raises(CorruptArtifactError, match=rf"{tmp_path}/manifest\.json is not usable: field 'format'") as info:
        read_manifest(tmp_path)
    assert info.value.hint == "elfs embed SOURCE --workspace NEW_DIRECTORY"
    monkeypatch.setattr(documents, "MAX_JSON_BYTES", 1)
    with pytest.raises(CorruptArtifactError, match="larger than 1 bytes"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_what_is_there_in_the_place_of_a_manifest_is_no_manifest(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "manifest.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("manifest.json")
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json is no file"):
        open_manifest(tmp_path)
