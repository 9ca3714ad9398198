"""One page about a selection, with nothing from elsewhere: readable without its script, to look around in with it."""

import base64
import hashlib
import importlib.resources
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elfs.catalog import SCORES
from elfs.delivery.chosen import Selection, load_selection
from elfs.delivery.comparison_figure import comparison_figure
from elfs.delivery.explore import explorer, script_json
from elfs.delivery.figures import cluster_bars, cluster_numbers, learning_curves, score_histogram
from elfs.delivery.learning import mean_curves
from elfs.delivery.next_steps import next_steps
from elfs.delivery.page_facts import num_different, page_facts, page_warnings, unreadable_images
from elfs.delivery.pictures import Pictures
from elfs.delivery.places import publish_file
from elfs.delivery.pool import Pool, load_pool
from elfs.delivery.sheets import contact_sheets, doubtful_sheets
from elfs.delivery.stage_table import stage_table
from elfs.delivery.tables import page_tables
from elfs.delivery.thumbnails import Thumbnails
from elfs.pipeline.cluster_facts import ClusterFacts
from elfs.pipeline.verdict import verdict

__all__ = ["Report", "render_report", "write_report"]

_TEMPLATE, _SCRIPT = "report.html.j2", "report.js"
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_ABOUT_SCORES = {
    "auto": "The first ones are typical, hard or easy; the later ones are hard ones that no earlier one resembles.",
    "elfs": "Both ends are left out: the hardest are mostly wrong pseudo-labels, the easiest teach little.",
    "easiest": "The easiest are selected.",
    "hardest": "The hardest are selected.",
    "random": "Chance does not look at it.",
}
"""What the histogram shows, for the methods of which it can be said."""

_ABOUT_OTHERS = "The method goes by more than this score, or by something else."


@dataclass(frozen=True)
class Report:
    """A page that is ready.

    Attributes
    ----------
    selection : str
        Name of the selection.
    html : str
        The page.
    warnings : list of str
        What the reader should know first; the page says it too.
    """

    selection: str
    html: str
    warnings: list[str]


def write_report(path: Path, wanted: str | None, output: Path) -> Report:
    """Write a page about a selection.

    Parameters
    ----------
    path : Path
        The workspace; it may be read-only.
    wanted : str or None
        Name of the selection; None for the one that was made last.
    output : Path
        The page; one that is there is replaced.

    Returns
    -------
    Report
        What was written.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name, or `output` is a folder.
    StorageError
        If the page cannot be written.
    """
    report = render_report(path, wanted)
    publish_file(output, lambda: report.html.encode("utf-8"), force=True)
    return report


def render_report(path: Path, wanted: str | None) -> Report:
    """Make a page about a selection.

    Parameters
    ----------
    path : Path
        The workspace.
    wanted : str or None
        Name of the selection; None for the one that was made last.

    Returns
    -------
    Report
        The same for the same workspace, to the byte.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or nothing has been selected.
    UsageError
        If there is no selection of that name.
    """
    import jinja2

    selection = load_selection(path, wanted)
    pool = load_pool(selection)
    thumbnails = Thumbnails(Pictures(selection))
    sheets = contact_sheets(selection, pool, thumbnails) + doubtful_sheets(selection, thumbnails)
    broken = unreadable_images(selection)
    data = explorer(selection, pool, thumbnails, broken["images"])
    stages = stage_table(selection)
    warnings = page_warnings(selection, stages, thumbnails)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    own = importlib.resources.files("elfs.delivery")
    template, script = (own.joinpath(name).read_text(encoding="utf-8") for name in (_TEMPLATE, _SCRIPT))
    about = _ABOUT_SCORES.get(selection.config.method, _ABOUT_OTHERS)
    html = environment.from_string(template).render(
        selection=selection,
        record=selection.record,
        pool=pool,
        share=f"{len(selection.rows) / max(1, num_different(selection, pool)):.1%}",
        warnings=warnings,
        verdict=verdict(selection.facts),
        data=script_json(data),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        stages=stages,
        facts=page_facts(selection, pool),
        figures=_figures(selection, pool),
        about_scores=f"Every image of the pool by its score. {about}",
        sheets=sheets,
        tables=page_tables(selection, pool),
        comparison=comparison_figure(selection),
        broken=broken,
        next_steps=next_steps(selection),
    )
    return Report(selection.name, _shown(html), warnings)


def _shown(text: str) -> str:
    """Return the text with control characters, and bytes that are not UTF-8, written out."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _figures(selection: Selection, pool: Pool) -> dict[str, str]:
    key = selection.config.key
    found = {}
    if pool.scores is not None and np.isfinite(pool.scores).any():
        found["scores"] = score_histogram(pool, key, higher_is_harder=SCORES[key].harder == "higher")
    if pool.pseudo_labels is not None:
        chosen = np.flatnonzero(np.isin(pool.rows, selection.rows))
        found["clusters"] = cluster_bars(pool, chosen)
    curves = mean_curves(selection, pool)
    if curves is not None:
        found["learning"] = learning_curves(*curves)
    workspace = selection.workspace
    clustered = workspace.summary("cluster", ClusterFacts) if "cluster" in workspace.manifest.records else None
    if clustered is not None and clustered.estimate is not None and clustered.estimate.groups:
        found["numbers"] = cluster_numbers(clustered.estimate)
    return found
