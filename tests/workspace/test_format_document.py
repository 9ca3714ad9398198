"""The normative document names what the code writes."""

import dataclasses
from pathlib import Path

import pytest

from elfs.workspace import documents, manifest, records, tensors

DOCUMENT = (Path(__file__).parents[2] / "docs" / "workspace-format.md").read_text()


@pytest.mark.parametrize(
    "cls", [manifest.Manifest, records.Record, records.Artifact, records.ArtifactFile, records.TensorInfo]
)
def test_every_field_is_described(cls: type) -> None:
    assert [field.name for field in dataclasses.fields(cls) if f"`{field.name}`" not in DOCUMENT] == []


def test_constants_agree() -> None:
    assert f"# Workspace format, version {manifest.FORMAT_VERSION}\n" in DOCUMENT
    assert f'| `format` | `"{manifest.FORMAT}"` |' in DOCUMENT
    assert f"MUST be among {', '.join(tensors.DTYPES)};" in DOCUMENT
    assert f"a header above {tensors.MAX_HEADER_BYTES:,} bytes" in DOCUMENT
    assert f"larger than {documents.MAX_JSON_BYTES // 2**20} MiB" in DOCUMENT
    assert f"`{manifest.JOURNAL_NAME}`" in DOCUMENT
    assert [name for name in manifest.RESERVED_NAMES if f"`{name}`" not in DOCUMENT] == []
