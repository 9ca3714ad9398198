"""What people must have said before anything runs for it."""

from pathlib import Path

import pytest

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.errors import MissingUpstreamError, UsageError
from elfs.pipeline.annotated import learned_names, refuse_without_annotations, require_class_names
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

ASKING = sorted(name for name, selector in SELECTORS.items() if selector.instead is not None)


def commit(path: Path, artifact: str, **metadata: object) -> Workspace:
    """Return a workspace that holds one artifact."""
    workspace = Workspace.create(path)
    draft = open_draft(workspace, "label", digest_json([artifact]))
    draft.save_bytes(artifact, f"{artifact}/table.csv", b"id\n")
    told = {artifact: dict(metadata)} if metadata else {}
    draft.commit(
        "label", stage="label", config={}, inputs={}, seed=None, smoke=False, summary={}, metadata=told, run={}
    )
    return Workspace.open(path)


@pytest.mark.parametrize("made", [None, "samples"], ids=["no workspace", "no annotations"])
@pytest.mark.parametrize("method", ASKING)
def test_methods_that_ask_about_annotations_need_some(method: str, made: str | None, workspace: Path) -> None:
    if made is not None:
        commit(workspace, made)
    with pytest.raises(MissingUpstreamError, match=rf"^{method} asks .* no image is annotated yet") as met:
        refuse_without_annotations(workspace, SelectConfig(method=method))
    assert met.value.hint == f"elfs annotate FILE   or: elfs select --method {SELECTORS[method].instead}"


@pytest.mark.parametrize("made", [None, "samples"], ids=["no workspace", "no annotations"])
def test_classes_cannot_be_balanced_before_somebody_names_them(made: str | None, workspace: Path) -> None:
    if made is not None:
        commit(workspace, made)
    with pytest.raises(UsageError, match=r"^--balance class needs pseudo-labels that have learned the classes of peo"):
        refuse_without_annotations(workspace, SelectConfig(method="random", balance="class"))
    refuse_without_annotations(workspace, SelectConfig(method="random", balance="cluster"))


@pytest.mark.parametrize("balance", ["none", "class"])
@pytest.mark.parametrize("method", ["random", *ASKING])
def test_with_annotations_nothing_is_refused(method: str, balance: str, workspace: Path) -> None:
    commit(workspace, "annotations")
    refuse_without_annotations(workspace, SelectConfig(method=method, balance=balance))


def test_classes_are_those_that_label_has_learned(workspace: Path) -> None:
    classes = SelectConfig(method="random", balance="class")
    for unnamed in (Workspace.create(workspace), commit(workspace, "pseudo_labels")):
        assert learned_names(unnamed) == ()
        require_class_names(SelectConfig(method="random", balance="cluster"), unnamed)
        with pytest.raises(UsageError, match=r"^--balance class needs pseudo-labels that have learned the classes of"):
            require_class_names(classes, unnamed)
    named = commit(workspace.with_name("named"), "pseudo_labels", names=["cat", "dog"])
    assert learned_names(named) == ("cat", "dog")
    require_class_names(classes, named)
