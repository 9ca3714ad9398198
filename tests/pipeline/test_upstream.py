from pathlib import Path

import pytest

from elfs.errors import MissingUpstreamError
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
