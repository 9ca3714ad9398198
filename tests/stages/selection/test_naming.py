"""No list takes the name of another."""

from pathlib import Path

import pytest

from elfs.errors import UsageError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Outcome
from elfs.pipeline.selections import read_images, selection_name
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of, run_stage


def ids(path: Path, name: str) -> list[str]:
    return [image.id for image in read_images(Workspace.open(path), name)]


def reselect(path: Path, said: list[str]) -> Outcome:
    """Select under the automatic name by the hardest end of the scores, whatever they are."""
    runtime = Runtime(devices="cpu", warn=pytest.fail, note=said.append)
    return run_stage("select", path, method="hardest", budget="20", runtime=runtime)


@pytest.fixture
def rescored(digits: Finished, workspace: Path) -> Path:
    """A selection by scores of which others came after it."""
    digits.copy(workspace)
    reselect(workspace, [])
    run_stage("dynamics", workspace, learning_rate=0.001)
    run_stage("score", workspace)
    return workspace


class TestAutomatic:
    def test_another_list_takes_the_next_free_name(self, rescored: Path) -> None:
        first, said = ids(rescored, "hardest-aum-20"), list[str]()
        files = bytes_of(rescored / "selections/hardest-aum-20")
        outcome = reselect(rescored, said)
        assert (outcome.record, outcome.ran) == ("select/hardest-aum-20-2", True)
        assert outcome.summary["name"] == "hardest-aum-20-2"
        assert ids(rescored, "hardest-aum-20-2") != first
        assert bytes_of(rescored / "selections/hardest-aum-20") == files
        assert selection_name(Workspace.open(rescored), None) == "hardest-aum-20-2"
        assert said == [
            "selection 'hardest-aum-20' holds another list, and keeps it: this one is 'hardest-aum-20-2', the default "
            "from now on."
        ]

    def test_it_is_found_again(self, rescored: Path) -> None:
        reselect(rescored, [])
        before, said = bytes_of(rescored), list[str]()
        again = reselect(rescored, said)
        assert (again.record, again.ran, said) == ("select/hardest-aum-20-2", False, [])
        assert bytes_of(rescored) == before

    def test_an_equal_list_does_nothing(self, digits: Finished, workspace: Path) -> None:
        """Other scores were made, of the same values for this key."""
        digits.copy(workspace)
        reselect(workspace, [])
        run_stage("score", workspace, window=3)
        files = bytes_of(workspace / "selections")
        outcome = reselect(workspace, [])
        assert (outcome.record, outcome.ran) == ("select/hardest-aum-20", False)
        assert outcome.summary["count"] == 20
        assert bytes_of(workspace / "selections") == files
        assert not (workspace / "partial").exists()

    def test_force_replaces_no_other_list(self, rescored: Path) -> None:
        first = ids(rescored, "hardest-aum-20")
        outcome = run_stage("select", rescored, method="hardest", budget="20", force=True)
        assert outcome.record == "select/hardest-aum-20-2"
        assert ids(rescored, "hardest-aum-20") == first
        again = run_stage("select", rescored, method="hardest", budget="20", force=True)
        assert (again.record, again.ran) == ("select/hardest-aum-20-2", True)


class TestChosen:
    @pytest.fixture(autouse=True)
    def made(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        run_stage("select", workspace, method="random", budget="12", name="round1")

    def test_another_list_is_refused(self, workspace: Path) -> None:
        before = bytes_of(workspace)
        message = (
            r"^selection 'round1' holds another list \(12 of 160 by chance\), and keeps it\. Give this one another "
            r"--name, or --force to replace it\.$"
        )
        with pytest.raises(UsageError, match=message):
            run_stage("select", workspace, method="random", budget="5", name="round1")
        assert bytes_of(workspace) == before

    def test_the_same_list_in_another_order_is_another_list(self, workspace: Path) -> None:
        run_stage("select", workspace, method="random", budget="1.0", name="all", seed=1)
        with pytest.raises(UsageError, match="'all' holds another list"):
            run_stage("select", workspace, method="random", budget="1.0", name="all", seed=2)

    def test_an_equal_list_does_nothing(self, workspace: Path) -> None:
        before = bytes_of(workspace)
        assert not run_stage("select", workspace, method="random", budget="12", name="round1", dedup="off").ran
        assert bytes_of(workspace) == before

    def test_force_replaces_it(self, workspace: Path) -> None:
        outcome = run_stage("select", workspace, method="random", budget="5", name="round1", force=True)
        assert outcome.record == "select/round1"
        assert len(ids(workspace, "round1")) == 5
