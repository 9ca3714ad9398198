"""A workspace from before the network of the training dynamics was kept."""

from pathlib import Path

import numpy as np
import pytest

from elfs.errors import MissingUpstreamError
from elfs.pipeline.upstream import require
from elfs.workspace.draft import open_draft
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

DIGEST = "sha256:" + 64 * "0"


@pytest.fixture
def older(digits: Finished, workspace: Path) -> Path:
    digits.copy(workspace)
    found = Workspace.open(workspace)
    entry = found.manifest.records["dynamics"]
    draft = open_draft(found, "dynamics", DIGEST)
    draft.save("dynamics", {name: np.array(trace) for name, trace in found.arrays("dynamics").items()})
    draft.commit(
        "dynamics",
        stage=entry.stage,
        config=entry.config,
        inputs=entry.inputs,
        seed=entry.seed,
        smoke=entry.smoke,
        summary=entry.summary,
        metadata={},
        run={},
    )
    return workspace


def test_missing_proxy_is_named_with_the_command_that_makes_it(older: Path) -> None:
    found = Workspace.open(older)
    with pytest.raises(MissingUpstreamError, match=r"^select needs proxy, which dynamics has not made in ") as caught:
        require(found, "select", ("samples", "scores", "proxy"))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("elfs dynamics ")


def test_dynamics_runs_again_although_nothing_changed_and_what_follows_stays_fresh(older: Path) -> None:
    assert not run_stage("score", older).ran
    assert run_stage("dynamics", older).ran
    found = Workspace.open(older)
    assert found.has("proxy")
    assert found.stale_reason("score") is None
    assert not run_stage("dynamics", older).ran
