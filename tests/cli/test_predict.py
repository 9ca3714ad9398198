import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chain import make_pictures

Elfs = Callable[..., Any]


@pytest.mark.slow
def test_from_pictures_to_predictions(elfs: Elfs, tmp_path: Path) -> None:
    """Annotate a part of a flat selection, train, and let the network name the rest."""
    make_pictures(tmp_path / "pool")
    assert elfs("predict").code == 4
    assert elfs("embed", str(tmp_path / "pool"), "--encoder", "pixels", "-q").code == 0
    assert elfs("select", "--method", "random", "--budget", "12", "--name", "few", "-q").code == 0
    assert "holds no trained network yet" in elfs("predict").err
    ids = [
        line["id"]
        for line in csv.DictReader(Path("elfs-workspace/selections/few/selection.csv").read_text().splitlines())
    ]
    Path("labels.csv").write_text("id;label\n" + "".join(f"{name};{name[0]}\n" for name in ids))
    ran = elfs("train", "--labels", "labels.csv", "--iterations", "3", "--folds", "2", "--devices", "cpu")
    assert ran.code == 0, ran.err
    assert "2-fold cross-validation" in ran.out
    assert "model       elfs-workspace/models/few.safetensors" in ran.out
    assert "next        elfs predict --selection few -o few-predictions.csv" in ran.out
    said = elfs("predict", "--devices", "cpu")
    lines = list(csv.DictReader(said.out.splitlines()))
    assert len(lines) == 60 - 12
    assert "48 images named by the network of selection few" in said.err
    document = json.loads(elfs("predict", "--devices", "cpu", "-o", "p.csv", "--json").out)
    assert (document["images"], document["format"], document["path"]) == (48, "csv", "p.csv")
    assert Path("p.csv").read_text() == said.out
    assert elfs("predict", "--devices", "cpu", "-o", "p.csv").code == 2
    assert elfs("predict", "--devices", "cpu", "-o", "p.json", "--all").code == 0
    assert len(json.loads(Path("p.json").read_text())) == 60
    assert "--format label-studio needs --output" in elfs("predict", "--format", "label-studio").err
    assert elfs("predict", "--json").code == 2
    assert "Did you mean 'csv'" in elfs("predict", "--format", "cvs").err
