from pathlib import Path

import pytest

from elfs.errors import MissingUpstreamError, UsageError
from elfs.pipeline.upstream import require
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage


def test_require_names_who_needs_what(digits: Finished, workspace: Path) -> None:
    require(Workspace.open(digits.path), "evaluate", ("samples", "pseudo_labels"))
    run_stage("embed", workspace, source="digits", limit=60)
    with pytest.raises(
        MissingUpstreamError, match=r"^evaluate needs pseudo_labels, which label has not made"
    ) as caught:
        require(Workspace.open(workspace), "evaluate", ("samples", "pseudo_labels"))
    assert caught.value.hint == f"elfs cluster --workspace {workspace} && elfs label --workspace {workspace}"


def test_selection_that_is_not_there_is_told_beside_those_that_are(digits: Finished, workspace: Path) -> None:
    used = digits.copy(workspace)
    for name in ("first", "second"):
        run_stage("select", used, method="random", budget="4", name=name)
    with pytest.raises(UsageError, match=r"^unknown selection 'selections/seconds'. Did you mean '.*/second'") as met:
        require(Workspace.open(used), "select", ("selections/seconds",))
    assert "selections/first, selections/second" in met.value.message
    require(Workspace.open(used), "select", ("selections/first",))
