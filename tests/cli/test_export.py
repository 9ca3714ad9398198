import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.catalog import EXPORT_FORMATS
from elfs.cli._output import Output
from elfs.config import CONFIGS, EmbedConfig, as_json, from_json
from elfs.data.sources import open_source
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.source_facts import SourceFacts
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

Elfs = Callable[..., Any]


@pytest.fixture
def selection(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Three digits, drawn at random, in the default workspace; a smoke run where the test asks for one."""
    workspace = Workspace.create(Path("elfs-workspace"))
    listing = open_source("digits", None, download=False, max_pixels=1 << 30).list()
    draft = open_draft(workspace, "embed", digest_json("samples"))
    draft.save("samples", listing.take(np.arange(40)).tensors())
    draft.commit(
        "embed",
        stage="embed",
        config=as_json(EmbedConfig(source="digits")),
        inputs={},
        seed=0,
        smoke=getattr(request, "param", False),
        summary={"headline": "digits"},
        metadata={"samples": asdict(SourceFacts("digits", 1, False, 10, True, 8))},
        run={"started": "2025-01-01T00:00:00+00:00"},
    )
    config = from_json(CONFIGS["select"], {"method": "random", "budget": "3", "name": "three", "dedup": "off"})
    execute("select", workspace.path, config, Runtime(devices="cpu"))
    return "three"


def test_stdout_carries_the_selection_alone(elfs: Elfs, selection: str) -> None:
    ran = elfs("export")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == Path("elfs-workspace/selections/three/selection.csv").read_text()
    assert elfs("export", "--format", "txt", "--null").out.count("\0") == 3
    assert elfs("export", "--format", "txt", "-0").out.count("\0") == 3
    assert json.loads(elfs("export", "--format", "json", "-q", "--selection", "three").out)["selection"] == "three"


def test_auto_is_the_default_of_options_that_have_one(elfs: Elfs, selection: str) -> None:
    explicit = elfs("export", "--format", "json", "--prefix", "auto", "--selection", "auto", "-o", "-")
    assert explicit.out == elfs("export", "--format", "json").out


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_a_file_or_folder_is_named_on_stdout(elfs: Elfs, selection: str, name: str) -> None:
    ran = elfs("export", "--format", name, "--output", "out")
    assert (ran.code, ran.out) == (0, "out\n")
    assert ran.err.startswith(f"3 images of selection three, as {name}\n")
    assert Path("out").exists()
    again = elfs("export", "--format", name, "--output", "out")
    assert again.code == 2
    assert "--force" in again.err
    assert elfs("export", "--format", name, "--output", "out", "--force").code == 0


def test_the_suffix_of_the_output_decides_the_format(elfs: Elfs, selection: str) -> None:
    assert elfs("export", "-o", "sel.json").code == 0
    assert len(json.loads(Path("sel.json").read_text())["images"]) == 3
    assert elfs("export", "-o", "sel.csv").code == 0
    assert Path("sel.csv").read_text().startswith("rank,id,")
    assert elfs("export", "-o", "sel.parquet").code == 0
    assert Path("sel.parquet").read_bytes().startswith(b"PAR1")
    refused = elfs("export", "-o", "sel.xlsx")
    assert (refused.code, "does not tell the format" in refused.err) == (2, True)
    assert elfs("export", "--format", "csv", "-o", "sel.dat").code == 0


def test_what_a_person_has_to_know_is_said(elfs: Elfs, selection: str) -> None:
    assert "sorting method Predefined" in elfs("export", "--format", "cvat", "-o", "a").err
    assert "no classes are known: give --classes" in elfs("export", "--format", "label-studio", "-o", "b").err
    said = elfs("export", "--format", "label-studio", "-o", "c", "--classes", "one,two").err
    assert "classes" not in said
    assert '<Choice value="two"/>' in Path("c/config.xml").read_text()
    assert elfs("export", "--format", "csv", "--classes", "a,b").code == 2


def test_json_describes_what_was_written(elfs: Elfs, selection: str) -> None:
    ran = elfs("export", "--format", "cvat", "-o", "manifest.jsonl", "--json")
    facts = {"selection": "three", "format": "cvat", "images": 3, "path": "manifest.jsonl"}
    assert json.loads(ran.out) == {"schema": "elfs/export/1"} | facts
    refused = elfs("export", "--json")
    assert refused.code == 2
    assert "--json needs --output FILE" in json.loads(refused.out)["error"]["message"]


def test_what_does_not_fit_is_refused(elfs: Elfs, selection: str) -> None:
    assert "Did you mean 'label-studio'?" in elfs("export", "--format", "label-studoi").err
    assert "expected --output FOLDER" in elfs("export", "--format", "images").err
    assert "unknown selection 'four'" in elfs("export", "--selection", "four").err
    assert elfs("export", "-w", "nowhere").code == 4


@pytest.mark.parametrize("selection", [True], indirect=True)
def test_smoke_is_said(elfs: Elfs, selection: str) -> None:
    ran = elfs("export")
    assert ran.code == 0
    assert ran.err == "warning: smoke settings: every step ran, the result means nothing.\n"
    report = elfs("report")
    assert report.err.startswith("warning: Smoke settings (embed, select)")


def test_labels_that_were_filled_in_are_read_back(elfs: Elfs, selection: str) -> None:
    from elfs.data.samples import SampleTable
    from elfs.evaluation.labels import true_labels

    assert elfs("export", "--format", "images", "-o", "out").code == 0
    path = Path("out/labels.csv")
    path.write_text(path.read_text().replace(",\n", ",cat\n"))
    workspace = Workspace.open(Path("elfs-workspace"))
    truth = true_labels(workspace, SampleTable.from_tensors(workspace.arrays("samples")), str(path))
    assert truth.names == ("cat",)
    rows = workspace.arrays("selections/three")["indices"]
    assert sorted(np.flatnonzero(truth.values == 0)) == sorted(rows)


def test_raw_bytes_pass_as_they_are(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    Output().raw(b"\xff\n\x00\x1b")
    assert capsysbinary.readouterr().out == b"\xff\n\x00\x1b"


def test_the_report_is_written_where_it_is_asked_for(elfs: Elfs, selection: str) -> None:
    ran = elfs("report")
    assert (ran.code, ran.out, ran.err) == (0, "elfs-report.html\n", "")
    assert Path("elfs-report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    document = json.loads(elfs("report", "--output", "other.html", "--selection", "three", "--json").out)
    assert document.pop("schema") == "elfs/report/1"
    assert document == {"selection": "three", "path": "other.html", "warnings": []}
    assert Path("other.html").read_text() == Path("elfs-report.html").read_text()
    assert elfs("report", "--selection", "four").code == 2


@pytest.mark.slow
def test_handing_on_needs_no_torch(elfs: Elfs, selection: str) -> None:
    import os
    import subprocess

    code = (
        "import sys; from elfs.cli.app import run; "
        "assert run(['export']) == 0; assert run(['report', '-q']) == 0; "
        "print([name for name in ('torch', 'torchvision', 'timm', 'faiss') if name in sys.modules])"
    )
    root = str(Path(sys.modules["elfs"].__path__[0]).parent)
    environ = os.environ | {"PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False)
    assert done.stdout.endswith("[]\n"), done.stderr
