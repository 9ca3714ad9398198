"""What does nearly the same for less time, and what that costs: by benchmarks/RESULTS.md, where it was measured."""

import importlib.util

__all__ = [
    "CLUSTER_GRAPH",
    "CLUSTER_HEADS",
    "CLUSTER_TURTLE",
    "EMBEDDING_PROXIES",
    "FEWER_IMAGES",
    "HARD_RATE_SEARCH",
    "IMAGE_PROXIES",
    "PAIRWISE",
    "TRAINING",
    "than_encoder",
    "than_exact_neighbors",
]

_LISTS = "--neighbor-search ivf takes less, and finds 96 to 98 % of them (50,000 to 200,000 made-up rows)."

FEWER_IMAGES = "--limit embeds fewer images, evenly spread."

CLUSTER_GRAPH = (
    "elfs cluster --method kmeans takes less: accuracy 95.2 for 96.8 on digits, 66.7 for 96.7 on MNIST (patches)."
)

CLUSTER_HEADS = (
    "elfs cluster --method kmeans takes less: accuracy 95.9 for 96.9 on digits, 67.3 for 91.2 on MNIST (patches). "
    "Half of the --epochs: 96.5 for 96.6 on digits."
)

CLUSTER_TURTLE = (
    "elfs cluster --method kmeans takes less: accuracy 95.9 for 96.1 on digits, 67.3 for 76.2 on MNIST (patches)."
)

IMAGE_PROXIES = (
    "--recipe ensemble, networks on the embeddings, takes less: of 5, 10 and 30 % of the digits by auto a resnet8 "
    "learns 2.1, 1.1 and 0.2 points less."
)

EMBEDDING_PROXIES = (
    "Fewer --proxies or --epochs take less: with 16 wider ones two seeds of elfs share 48 % of the picks of digits, "
    "with 64 71 %."
)

TRAINING = (
    "--network linear, on the embeddings, takes less: of 10 % by auto it learns 98.6 on digits and 90.6 on "
    "synthetic:balanced, resnet8 96.9 and 90.9. So do --network mlp or fewer --iterations."
)

HARD_RATE_SEARCH = (
    "Without --hard-rate search it takes seconds: the rate found then is 1.2 points behind the best fixed one, in the "
    "mean of seven pools."
)

PAIRWISE = "--blocks, in each of which is selected by itself, takes less; what that costs is not measured."

_THAN_PATCHES = (
    "--encoder pixels takes less: of the ten nearest 95 % are of one class on digits (97 by patches), 21 % on coloured "
    "shapes (95)."
)
_THAN_LITE = (
    "--encoder patches takes less: of the ten nearest 59 % are of one category on emoji (66 by lite), 82 % of one "
    "class on drawings (69)."
)
_THAN_OTHERS = "--encoder lite takes a tenth as long as vit_base_patch16_224; what that costs is not measured."


def than_exact_neighbors() -> str:
    """Return what takes less than to compare all pairs.

    Returns
    -------
    str
        A sentence; where FAISS is not installed it begins with how to install it.
    """
    return _LISTS if importlib.util.find_spec("faiss") is not None else f"pip install faiss-cpu: {_LISTS}"


def than_encoder(name: str) -> str:
    """Return what takes less than an encoder.

    Parameters
    ----------
    name : str
        As ``--encoder`` takes it; of several side by side the dearest counts.

    Returns
    -------
    str
        A sentence.
    """
    parts = set(name.split("+"))
    if parts - {"pixels", "patches", "lite"}:
        return _THAN_OTHERS
    return _THAN_LITE if "lite" in parts else _THAN_PATCHES if "patches" in parts else FEWER_IMAGES
