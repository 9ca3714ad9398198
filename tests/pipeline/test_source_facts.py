"""What embed notes about a source."""

import dataclasses

import pytest

from elfs.errors import CorruptArtifactError
from elfs.pipeline.source_facts import SourceFacts
from elfs.workspace.workspace import Workspace
from tests.chain import Finished


def test_facts_are_read_as_embed_wrote_them(digits: Finished) -> None:
    facts = Workspace.open(digits.path).metadata("samples", SourceFacts)
    assert facts == SourceFacts("digits", channels=1, mirror=False, num_classes=10, has_images=True, image_side=8)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("source", 1, "a string, got 1"),
        ("channels", "3", "an integer, got '3'"),
        ("mirror", 1, "true or false, got 1"),
        ("num_classes", 2.5, "an integer or null, got 2.5"),
    ],
)
def test_a_field_that_does_not_fit_is_named(digits: Finished, name: str, value: object, expected: str) -> None:
    workspace = Workspace.open(digits.path)
    entry = workspace.manifest.artifacts["samples"]
    changed = dataclasses.replace(entry, metadata=entry.metadata | {name: value})
    workspace.manifest = dataclasses.replace(workspace.manifest, artifacts={"samples": changed})
    problem = rf"^field 'artifacts\.samples\.metadata\.{name}': expected {expected}"
    with pytest.raises(CorruptArtifactError, match=problem) as caught:
        workspace.metadata("samples", SourceFacts)
    assert str(caught.value.hint).startswith("elfs embed digits ")
    assert str(caught.value.hint).endswith(" --force")
