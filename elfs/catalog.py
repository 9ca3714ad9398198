"""Names that a user can type, with one line about each. Plain data: importing this costs nothing.

The code behind a name lives elsewhere (a score in ``elfs.ops.scores``, a selector in ``elfs.ops.selection``, a data set
in ``elfs.data``); tests hold the two lists equal. Completion, ``--help`` and error messages read only this file.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BALANCE",
    "COLUMN",
    "CLUSTER_LOSSES",
    "CLUSTER_METHODS",
    "DEDUP",
    "ENCODERS",
    "EXPORT_FORMATS",
    "HEAD_CHOICES",
    "NEIGHBOR_SEARCHES",
    "EMBEDDING_NETWORKS",
    "NETWORKS",
    "RECIPES",
    "SCORES",
    "SELECTORS",
    "STAGES",
    "Method",
    "Score",
    "required_epochs",
]

STAGES = ("embed", "cluster", "label", "dynamics", "score", "select")
"""The six stages, in the order in which they run."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one difficulty score means.

    Attributes
    ----------
    harder : {"higher", "lower"}
        Which end of the score's range holds the hard samples.
    source : {"dynamics", "embeddings"}
        What it is computed from: the traces of the proxy network, or where a sample lies among the embeddings.
    summary : str
        One line for people.
    epochs : int
        Fewest epochs of dynamics with which it says anything; 0 where it needs none.
    windowed : bool
        Whether the epochs of a whole window must be there: each beyond two needs one more.
    """

    harder: Literal["higher", "lower"]
    source: Literal["dynamics", "embeddings"]
    summary: str
    epochs: int = 1
    windowed: bool = False


SCORES: dict[str, Score] = {
    "aum": Score("lower", "dynamics", "area under the margin: sum over epochs of p(pseudo-label) - max p(other)"),
    "confidence": Score("lower", "dynamics", "mean over epochs of p(pseudo-label) (dataset cartography)"),
    "correctness": Score("lower", "dynamics", "number of epochs in which the prediction is the pseudo-label"),
    "density": Score("lower", "embeddings", "mean cosine to the nearest neighbours", 0),
    "dual": Score("higher", "dynamics", "deviation x (1 - mean) of p(pseudo-label), mean of windows", 2, windowed=True),
    "dyn_unc": Score("higher", "dynamics", "deviation of p(pseudo-label), mean of windows of epochs", 2, windowed=True),
    "el2n": Score("higher", "dynamics", "error norm |p - onehot|, summed over the first epochs"),
    "entropy": Score("higher", "dynamics", "entropy of the prediction, mean of the last epochs (nats)"),
    "forgetting": Score("higher", "dynamics", "number of times a learned sample is forgotten", 2),
    "loss": Score("higher", "dynamics", "cross-entropy against the pseudo-label, mean of the last epochs (nats)"),
    "prototypicality": Score("higher", "embeddings", "distance to the nearest k-means centre", 0),
    "tdds": Score("higher", "dynamics", "uneven change of p(pseudo-label), late epochs count most", 3, windowed=True),
    "typicality": Score("lower", "embeddings", "inverse of the mean distance to the nearest neighbours", 0),
    "variability": Score("higher", "dynamics", "deviation over epochs of p(pseudo-label) (dataset cartography)", 2),
}
"""Every key that ``elfs score`` writes and ``elfs select --key`` takes."""


def required_epochs(key: str, window: int) -> int:
    """Return how many epochs of dynamics a score needs.

    Parameters
    ----------
    key : str
        A key of ``SCORES``.
    window : int
        Epochs of a window (``--window``), at least 1; a window that slides over the epochs has at least 2.

    Returns
    -------
    int
        0 for a score of the embeddings; the window for ``dual`` and ``dyn_unc``, one more for ``tdds``; else 1 or 2.
    """
    score = SCORES[key]
    return score.epochs + (max(0, window - 2) if score.windowed else 0)


@dataclass(frozen=True, slots=True)
class Method:
    """A way to select.

    Attributes
    ----------
    summary : str
        One line for people.
    reads : tuple of str
        Artifacts that it needs besides ``samples``.
    keyed : bool
        Whether it ranks by ``--key``.
    prunes : bool
        Whether ``--hard-rate`` concerns it.
    scores : tuple of str
        Scores that it needs whatever the key.
    pairwise : bool
        Whether it compares every image of the pool with every one that it picks, so that ``--blocks`` helps.
    instead : str or None
        Of a method that needs annotations: the one that comes nearest without.
    """

    summary: str
    reads: tuple[str, ...] = ()
    keyed: bool = False
    prunes: bool = False
    scores: tuple[str, ...] = ()
    pairwise: bool = False
    instead: str | None = None


SELECTORS: dict[str, Method] = {
    "auto": Method(
        "greedy coverage: what is typical first, then what is hard, or what annotations leave unsure",
        ("scores", "embeddings", "pseudo_labels"),
        keyed=True,
    ),
    "elfs": Method(
        "the paper's: drop the hardest share (--hard-rate), keep the next hardest (ELFS, ICLR 2025)",
        ("scores",),
        keyed=True,
        prunes=True,
    ),
    "badge": Method(
        "k-means++ on gradients of a last layer: the proxy's, or that of what was annotated (BADGE, ICLR 2020)",
        ("proxy",),
        pairwise=True,
    ),
    "ccs": Method(
        "drop the hardest share, then fill equal-width strata of --key evenly (CCS, ICLR 2023)",
        ("scores",),
        keyed=True,
        prunes=True,
        scores=("aum",),
    ),
    "d2": Method(
        "hard samples first, each pick lowering its neighbours (D2 pruning, ICLR 2024)",
        ("scores", "neighbors"),
        keyed=True,
    ),
    "dropquery": Method(
        "rows whose class changes under dropout, spread out (DropQuery, TMLR 2024)",
        ("annotations", "embeddings"),
        instead="typiclust",
    ),
    "dual-beta": Method(
        "by DUAL score, drawn around a confidence that grows easier as the budget shrinks (DUAL, 2025)",
        ("scores",),
        scores=("confidence", "dual"),
    ),
    "easiest": Method("the easiest samples by --key", ("scores",), keyed=True),
    "entropy": Method("the highest entropy of a classifier of the annotations", ("annotations",), instead="hardest"),
    "facility-location": Method("greedy coverage: each image has a selected one that is similar", ("embeddings",)),
    "hardest": Method("the hardest samples by --key", ("scores",), keyed=True),
    "herding": Method("keep the mean of the selection at the mean of the pool", ("embeddings",), pairwise=True),
    "k-center": Method("always the image farthest from all selected ones", ("embeddings",), pairwise=True),
    "margin": Method(
        "the two likeliest classes of a classifier of the annotations are closest",
        ("annotations",),
        instead="hardest",
    ),
    "moderate": Method(
        "median distance to the centre of the own cluster (Moderate coreset, ICLR 2023)",
        ("embeddings", "pseudo_labels"),
    ),
    "prototypicality": Method("the farthest from their k-means centre (Sorscher et al., 2022)", ("embeddings",)),
    "random": Method("a uniform random sample"),
    "typiclust": Method("the most typical image of each k-means cluster (TypiClust, ICML 2022)", ("embeddings",)),
    "uherding": Method(
        "greedy coverage of what a classifier of the annotations is unsure of (UHerding, ICLR 2025)",
        ("annotations", "embeddings"),
        instead="auto",
    ),
}
"""Every method that ``elfs select --method`` takes."""

COLUMN = "column:"
"""What ``--balance`` begins with where it names a column of a table about the images."""

BALANCE: dict[str, str] = {
    "none": "the method alone decides",
    "cluster": "equally many images of every cluster, as far as it has them",
    "class": "equally many images of every class that people have named, annotated ones included",
    f"{COLUMN}NAME": "equally many images of every value of a column of --metadata or --groups",
}
"""What ``--balance`` takes."""

NEIGHBOR_SEARCHES: dict[str, str] = {
    "auto": "exact up to 200,000 images on a CPU and 20,000,000 on a GPU, ivf above",
    "exact": "all pairs are compared",
    "ivf": "inverted lists of FAISS, on the CPU; how many neighbours they find is measured",
}

DEDUP: dict[str, str] = {
    "exact": "images with equal embeddings",
    "near": "images closer than a quarter of the usual distance to the nearest neighbour",
    "off": "none",
}


ENCODERS: dict[str, str] = {
    "patches": "shape by pooled patches (Coates et al. 2011) and colours, weighted; learned from the pool",
    "pixels": "the pixels themselves, at most 32x32",
}
"""Encoders that need no weights. Those of ``elfs.models.published`` and timm's models do."""

CLUSTER_METHODS: dict[str, str] = {
    "graph": "many starts, refined on the neighbour graph until clusters say most about neighbours; their consensus",
    "temi": "many small heads trained on neighbour pairs (TEMI, BMVC 2023)",
    "kmeans": "k-means on the embeddings, scaled to length 1",
    "turtle": "labels that linear heads on one or several encoders learn most easily (TURTLE, ICML 2024)",
}

HEAD_CHOICES: dict[str, str] = {
    "consensus": "all heads together: their probabilities, clusters matched, weighted by the trust in each",
    "trust": "the head whose clusters neighbours and the other heads confirm most",
    "information": "the head whose clusters say most about the clusters of neighbours",
    "loss": "the head with the lowest training loss, as in the paper",
}

CLUSTER_LOSSES: dict[str, str] = {
    "temi": "pointwise mutual information, weighted by the agreement of all teachers",
    "wmi": "pointwise mutual information, weighted by each head's own teacher",
    "pmi": "pointwise mutual information, unweighted",
    "scan": "neighbour consistency plus assignment entropy (SCAN, ECCV 2020)",
}

NETWORKS: dict[str, str] = {
    "resnet8": "three residual blocks, 16 to 64 channels, for small images on a CPU",
    "resnet18": "ResNet-18 for small images: 3x3 stem, no max-pool",
    "mlp": "two layers on the frozen embeddings; needs no images",
    "linear": "one layer on the frozen embeddings: a linear probe; needs no images",
}
"""Networks by name. Every other name is a timm model."""

EMBEDDING_NETWORKS = frozenset({"mlp", "linear"})
"""Those that look at the embeddings; all others look at the images."""

RECIPES: dict[str, str] = {
    "cifar": "200 epochs, SGD 0.1 cosine, crop and flip, at most 32 pixels (ELFS, CIFAR)",
    "imagenet": "60 epochs, SGD 0.1 cosine, random resized crop at 224 pixels (ELFS, ImageNet)",
    "small": "30 epochs, batch 64, at most 32 pixels: minutes on a CPU",
    "ensemble": "64 small networks on the embeddings side by side, 20 epochs, batch 256: seconds on a CPU",
}

EXPORT_FORMATS: dict[str, str] = {
    "csv": "rank, id, pseudo-label, score, why",
    "txt": "one path a line",
    "json": "one document with every selected image",
    "jsonl": "one JSON object a line with every selected image",
    "parquet": "the columns of jsonl as a Parquet file (pip install 'elfs[hf]')",
    "label-studio": "a folder for Label Studio: tasks, config.xml, README; -o FILE.json for the tasks alone",
    "cvat": "a folder for CVAT: manifest, labels, README; -o FILE.jsonl for the manifest alone",
    "coco": "COCO: images and categories",
    "fiftyone": "a folder that FiftyOne loads: data.json, labels.json, README",
    "images": "a folder with the images themselves and a labels.csv to fill in",
}
"""Every format that ``elfs export --format`` takes."""
