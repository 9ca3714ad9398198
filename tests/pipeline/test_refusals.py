"""Bad input through the command line: one clear message, the documented exit code, and nothing changed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.cli.app import run
from tests.chain import Finished, bytes_of, make_embeddings, make_pictures

CPU = ("--devices", "cpu")
SMALL = ("--encoder", "pixels", *CPU)


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], workspace: Path) -> Callable[..., str]:
    """Run a command line that must be refused with an exit code and leave the workspace as it was."""

    def call(code: int, message: str, *arguments: str) -> str:
        existed, before = workspace.exists(), bytes_of(workspace)
        if existed and arguments[0] == "embed":  # other images than those of the workspace are asked about first
            arguments = (*arguments, "--force")
        found = run([*arguments, "--workspace", str(workspace)])
        said = capsys.readouterr()
        assert found == code, said.err
        assert (workspace.exists(), bytes_of(workspace)) == (existed, before)
        assert said.out == ""
        errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, said.err
        assert re.search(message, errors[0]), errors[0]
        assert "Traceback" not in said.err
        return said.err

    return call


@pytest.fixture(params=["new", "used"])
def place(request: pytest.FixtureRequest, digits: Finished, workspace: Path) -> Path:
    """A workspace that does not exist yet, or one that is finished."""
    if request.param == "used":
        digits.copy(workspace)
    return workspace


@pytest.mark.usefixtures("place")
class TestEmbed:
    """What ``elfs embed`` refuses, in a new workspace and in one that is in use."""

    def test_row_25_empty_folder(self, refused: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        refused(3, r"no image in .*empty: it has no files", "embed", str(tmp_path / "empty"), *SMALL)

    def test_row_25_folder_without_images(self, refused: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "a.txt").write_text("words")
        (tmp_path / "notes" / "b.docx").write_text("words")
        refused(3, r"no image in .*notes: seen \.\w+ \(1\), \.\w+ \(1\)", "embed", str(tmp_path / "notes"), *SMALL)

    @pytest.mark.parametrize("encoder", ["pixels", "patches"])
    def test_row_39_every_image_broken(self, refused: Callable[..., str], tmp_path: Path, encoder: str) -> None:
        (tmp_path / "broken").mkdir()
        for number in range(3):
            (tmp_path / "broken" / f"{number}.png").write_bytes(b"")
        arguments = ("embed", str(tmp_path / "broken"), "--encoder", encoder, *CPU)
        refused(3, r"none of the 3 images that were tried could be read; the first: ", *arguments)

    def test_row_39_every_train_image_broken(self, refused: Callable[..., str], tmp_path: Path) -> None:
        make_pictures(tmp_path / "split")
        (tmp_path / "split" / "a").rename(tmp_path / "split" / "train")
        (tmp_path / "split" / "b").rename(tmp_path / "split" / "test")
        (tmp_path / "split" / "c").rename(tmp_path / "split" / "val")
        for path in (tmp_path / "split" / "train").iterdir():
            path.write_bytes(b"")
        arguments = ("embed", str(tmp_path / "split"), "--max-broken", "1", *CPU)
        refused(3, r"none of 20 training images could be read", *arguments, "--encoder", "patches")
        refused(3, r"only 0 usable training images", *arguments, "--encoder", "pixels")

    def test_row_39_too_many_broken(self, refused: Callable[..., str], tmp_path: Path) -> None:
        make_pictures(tmp_path / "pictures", corrupt=True)
        (tmp_path / "pictures" / "a" / "05.png").write_bytes(b"<html>404</html>")
        arguments = ("embed", str(tmp_path / "pictures"), "--max-broken", "0.02", *SMALL)
        message = (
            r"2 of 60 images cannot be used, --max-broken allows 2%\. "
            r"Reasons: 1 x .*; 1 x .*\. The first is 'a/05\.png'\.$"
        )
        refused(3, message, *arguments)

    def test_row_39_too_many_dangling_links(self, refused: Callable[..., str], tmp_path: Path) -> None:
        make_pictures(tmp_path / "pictures")
        for number in range(20):
            (tmp_path / "pictures" / f"link{number:02d}.png").symlink_to(tmp_path / "gone.png")
        message = r"20 of 80 images cannot be used, .* Reasons: 20 x No such file .*\. The first is 'link00\.png'\.$"
        refused(3, message, "embed", str(tmp_path / "pictures"), *SMALL)

    def test_row_46_one_image_has_no_neighbours(self, refused: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / "one" / "a.png")
        refused(3, r"only 1 usable training images: neighbours need at least 2", "embed", str(tmp_path / "one"), *SMALL)

    def test_embeddings_that_are_not_finite(self, refused: Callable[..., str], tmp_path: Path) -> None:
        values = np.load(make_embeddings(tmp_path / "own.npy"))
        values[3:10] = np.nan
        np.save(tmp_path / "own.npy", values)
        message = (
            r"7 of 60 images cannot be used, --max-broken allows 10%\. "
            r"Reasons: 7 x its embedding is not finite\. The first is 'row/00000003'\.$"
        )
        refused(3, message, "embed", "--embeddings", str(tmp_path / "own.npy"), *CPU)
        np.save(tmp_path / "own.npy", np.full_like(values, np.inf))
        refused(3, r"60 of 60 .*not finite", "embed", "--embeddings", "own.npy", "--max-broken", "1", *CPU)

    def test_embeddings_of_other_images(self, refused: Callable[..., str], tmp_path: Path) -> None:
        make_pictures(tmp_path / "pictures")
        own = str(make_embeddings(tmp_path / "own.npy"))
        message = r"60 of 60 ids are unknown: 'row/00000000', .*; ids look like 'a/00\.png'\.$"
        refused(3, message, "embed", str(tmp_path / "pictures"), "--embeddings", own, *CPU)

    def test_file_that_is_not_there(self, refused: Callable[..., str]) -> None:
        refused(3, r"--embeddings none\.npy: there is no such file\.$", "embed", "--embeddings", "none.npy", *CPU)
        refused(3, r"--weights w\.pth: there is no such file\.$", "embed", "digits", "--weights", "w.pth", *CPU)

    def test_weights_without_an_encoder(self, refused: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "w.safetensors").write_bytes(b"")
        message = r"--weights w\.safetensors needs --encoder: which model are they for\?$"
        refused(2, message, "embed", "digits", "--weights", "w.safetensors", *CPU)

    def test_unknown_names(self, refused: Callable[..., str]) -> None:
        refused(2, r"no such folder: 'digts', .* Did you mean 'digits'\?", "embed", "digts", *CPU)
        refused(2, r"'pixel'.* Did you mean 'pixels'\?", "embed", "digits", "--encoder", "pixel", *CPU)

    def test_row_57_data_set_that_is_not_there(self, refused: Callable[..., str], tmp_path: Path) -> None:
        said = refused(
            3, r"cifar10 was not found in .*nothing was downloaded", "embed", "cifar10", "--data-root", "none"
        )
        assert "elfs embed cifar10 --download" in said

    def test_row_57_data_set_that_cannot_be_fetched(
        self, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def offline(*_: object, **__: object) -> None:
            raise OSError("no route to host")

        monkeypatch.setattr("urllib.request.urlopen", offline)
        refused(3, r"could not download mnist to .*none", "embed", "mnist", "--download", "--data-root", "none")


class TestLater:
    """What the later stages refuse."""

    @pytest.fixture(autouse=True)
    def _used(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)

    def test_row_46_more_clusters_than_images(self, refused: Callable[..., str]) -> None:
        refused(3, r"--clusters 161 is more than the 160 images of the pool", "cluster", "--clusters", "161", *CPU)

    def test_head_that_was_not_trained(self, refused: Callable[..., str]) -> None:
        refused(2, r"--head is 2, expected at most 1: cluster made that many heads", "label", "--head", "2", *CPU)

    def test_unknown_network(self, refused: Callable[..., str]) -> None:
        refused(2, r"unknown network 'resnet9'\. Did you mean 'resnet", "dynamics", "--network", "resnet9", *CPU)

    def test_divergence(self, refused: Callable[..., str]) -> None:
        message = r"training diverged in epoch 1: .* Try --learning-rate "
        refused(2, message, "dynamics", "--learning-rate", "1e38", "--epochs", "2", *CPU)
        message = r"the cluster heads diverged in epoch \d+: .* Try --learning-rate 1e\+37"
        refused(2, message, "cluster", "--clusters", "3", "--epochs", "9", "--learning-rate", "1e38", *CPU)

    @pytest.mark.parametrize(
        ("budget", "message"),
        [
            ("0", r"--budget is 0, expected a share"),
            ("-3", r"--budget is -3, .*above 0"),
            ("-0.1", r"--budget is -0\.1, .*above 0"),
            ("1.5", r"--budget is 1\.5: a share is at most 1\.0"),
            (
                "161",
                r"--budget asks for 161 images, and there are 160, copies and annotated ones included: give",
            ),
            ("lots", r"--budget is 'lots', expected a share"),
        ],
    )
    def test_budget(self, refused: Callable[..., str], budget: str, message: str) -> None:
        refused(2, message, "select", f"--budget={budget}")

    def test_row_49_hard_rate_and_budget_above_the_pool(self, refused: Callable[..., str]) -> None:
        message = r"a hard rate of 0\.6 leaves 64 of 160 .* The largest hard rate that fits is 0\.5\.$"
        refused(2, message, "select", "--method", "elfs", "--budget", "0.5", "--hard-rate", "0.6")

    def test_hard_rate_and_budget_that_just_fit(self, workspace: Path) -> None:
        """The reference selects nothing here."""
        options = ["--budget", "0.5", "--hard-rate", "0.5", "--name", "rest"]
        arguments = ["select", "--method", "elfs", *options, "--workspace", str(workspace)]
        assert run(arguments) == 0
        assert len((workspace / "selections" / "rest" / "selection.csv").read_text().splitlines()) == 1 + 80

    def test_row_52_unknown_key(self, refused: Callable[..., str]) -> None:
        refused(2, r"unknown value for --key: 'amu'\. Did you mean 'aum'\? Available: aum", "select", "--key", "amu")

    def test_missing_upstream(self, refused: Callable[..., str], workspace: Path, tmp_path: Path) -> None:
        workspace.rename(tmp_path / "elsewhere")
        said = refused(4, r"there is no workspace at ", "cluster", *CPU)
        assert f"run:   elfs embed SOURCE --workspace {workspace}" in said

    def test_row_21_stale_upstream(self, refused: Callable[..., str], workspace: Path) -> None:
        arguments = ["embed", "digits", "--limit", "200", "--neighbors", "4", *SMALL, "--workspace", str(workspace)]
        assert run(arguments) == 0
        said = refused(4, r"scores is stale", "select", *CPU)
        assert re.search(r"^run:   elfs cluster .* && elfs label .* && elfs dynamics .* && elfs score ", said, re.M)

    @pytest.mark.parametrize("command", [("embed", "digits"), ("cluster",), ("select",)])
    def test_newer_format(self, refused: Callable[..., str], workspace: Path, command: tuple[str, ...]) -> None:
        manifest = json.loads((workspace / "manifest.json").read_text())
        manifest["format_version"] += 1
        (workspace / "manifest.json").write_text(json.dumps(manifest))
        refused(5, r"format", *command, *CPU)

    def test_workspace_that_is_a_file_or_holds_other_things(
        self, refused: Callable[..., str], workspace: Path, tmp_path: Path
    ) -> None:
        workspace.rename(tmp_path / "elsewhere")
        workspace.mkdir()
        (workspace / "thesis.tex").write_text("words")
        refused(2, r"is no workspace but holds other things, such as 'thesis\.tex'", "embed", "digits", *CPU)
        (workspace / "thesis.tex").unlink()
        workspace.rmdir()
        workspace.write_text("a file")
        refused(2, r"is a file, expected a directory", "embed", "digits", *CPU)


def test_empty_directory_stays_empty(refused: Callable[..., str], workspace: Path) -> None:
    workspace.mkdir()
    refused(2, r"'pixel'", "embed", "digits", "--encoder", "pixel", *CPU)


def test_row_46_pool_smaller_than_the_neighbours_is_warned_of(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_embeddings(tmp_path / "own.npy", 6)
    words = ["embed", "--embeddings", "own.npy", *CPU, "--workspace", str(workspace)]
    assert run(words) == 0
    assert "warning" not in capsys.readouterr().err  # nobody has asked for more
    assert run([*words, "--neighbors", "40"]) == 0
    assert "6 images have at most 5 neighbours: --neighbors 40 is too many." in " ".join(
        capsys.readouterr().err.split()
    )
