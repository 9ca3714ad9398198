"""Why each image is in a selection, in words, and the table for people."""

import io
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.data.cells import quoted_cell, safe_cell
from elfs.pipeline.selections import COLUMNS, GROUP_COLUMN

__all__ = ["REASONS", "reasons", "selection_csv"]

REASONS: dict[str, str] = {
    "elfs": "the hardest {hard_rate:.1%} are pruned and the next hardest are kept",
    "auto": "it is similar to many images that no image before it is similar to, and the later the more to hard ones",
    "badge": "its gradient is unlike those of the images before it",
    "ccs": "the hardest {hard_rate:.1%} are pruned and every stratum of the rest gets its share",
    "d2": "it and its neighbours are hard, and none of them came before it",
    "dropquery": "its class changes when features are dropped, and it is in the middle of others of that kind",
    "dual-beta": "drawn by DUAL score around the confidence that suits the budget",
    "easiest": "the easiest are kept",
    "entropy": "what was annotated says least about its class",
    "facility-location": "it is similar to many images that no image before it is similar to",
    "hardest": "the hardest are kept",
    "herding": "with it the mean of the selection stays near the mean of the pool",
    "k-center": "it is farther from all images before it than any other",
    "margin": "what was annotated speaks for two classes almost alike",
    "moderate": "its distance to the centre of its cluster is near the median",
    "prototypicality": "it is far from the centre of its k-means cluster",
    "random": "drawn at random with seed {seed}",
    "typiclust": "it is the most typical image of a region from which fewest were taken",
    "uherding": "it is similar to many images whose class is unsure and that no image before it is similar to",
}
"""One clause for each method."""

_BLOCK_LINES = 16_384

_UNSURE = (
    "it is similar to many images that no image before it is similar to, and the later the more to those whose class "
    "is unsure"
)


def reasons(
    config: SelectConfig,
    hardness: Tensor | None,
    picked: Tensor,
    hard_rate: float,
    *,
    whole_groups: bool = False,
    by_annotations: bool = False,
) -> list[str]:
    """Return why each image is in the selection.

    Parameters
    ----------
    config : SelectConfig
        How it was selected.
    hardness : Tensor of shape (n_rows,), float32, or None
        Difficulty of the pool's rows; None for methods without a key.
    picked : Tensor of shape (n_picked,), int64
        Positions in the pool.
    hard_rate : float
        Share that was pruned, in [0, 1].
    whole_groups : bool
        Whether an image comes with its whole group.
    by_annotations : bool
        Whether auto went by what a classifier of the annotations is unsure of.

    Returns
    -------
    list of str
        One sentence for each picked position.
    """
    clause = REASONS[config.method].format(hard_rate=hard_rate, seed=config.seed)
    if by_annotations:
        clause = _UNSURE
    if config.balances_pseudo_labels:
        clause += f", inside its {config.balance}"
    elif config.column is not None:
        clause += f", among those of the same {config.column}"
    if config.per_group is not None:
        clause += f", at most {config.per_group} of its group"
    if whole_groups:
        clause = f"it comes with its whole group, of which the first image is in since: {clause}"
    if not SELECTORS[config.method].keyed or hardness is None:
        return [clause] * len(picked)
    ease = -hardness.numpy()
    ordered = np.sort(ease[np.isfinite(ease)])
    harder = [f"{share:.1%}" for share in (np.searchsorted(ordered, ease[picked.numpy()]) / len(ordered)).tolist()]
    sentences = {share: f"{share} of the pool is harder by {config.key}; {clause}" for share in set(harder)}
    return [sentences[share] for share in harder]


def selection_csv(
    ids: Sequence[str],
    labels: NDArray[np.int64] | None,
    scores: NDArray[np.float32] | None,
    reasons: Sequence[str],
    groups: Sequence[str] | None = None,
) -> bytes:
    """Return the table for people.

    Parameters
    ----------
    ids : sequence of str
        Of the selected images, best first.
    labels : ndarray of shape (n_selected,), int64, or None
        Their pseudo-labels; None leaves the column empty.
    scores : ndarray of shape (n_selected,), float32, or None
        Their scores by the key; None leaves the column empty.
    reasons : sequence of str
        Why each is in.
    groups : sequence of str, or None
        The group of each, empty for none; None leaves the column out.

    Returns
    -------
    bytes
        CSV with the columns rank (from 1), id, pseudo_label, score, why, and group where there are any; no name is a
        formula for a spreadsheet.
    """
    empty = [""] * len(ids)
    sentences = {why: _cell(why) for why in set(reasons)}
    columns: list[Iterable[str]] = [
        map(str, range(1, len(ids) + 1)),
        map(_cell, ids),
        empty if labels is None else map(str, labels.tolist()),
        empty if scores is None else map("{:.6g}".format, scores.tolist()),
        map(sentences.__getitem__, reasons),
    ]
    header = COLUMNS
    if groups is not None:
        header = [*COLUMNS, GROUP_COLUMN]
        columns.append(map(_cell, groups))
    lines, data = map(",".join, zip(*columns, strict=True)), io.BytesIO()  # a quarter of the time of csv_text
    data.write((",".join(header) + "\n").encode())
    while block := list(itertools.islice(lines, _BLOCK_LINES)):
        data.write(("\n".join(block) + "\n").encode("utf-8", "surrogateescape"))
    return data.getvalue()


def _cell(text: str) -> str:
    return quoted_cell(safe_cell(text))
