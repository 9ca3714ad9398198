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

FEWER_IMAGES = (
    "--limit embeds fewer images, evenly spread. As many picks by auto from half of them teach a linear classifier as "
    "much: 96.7 for 95.9 on MNIST, 70.5 for 68.9 on emoji."
)

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
    "--recipe ensemble, networks on the embeddings, takes less: of 5, 10 and 30 % by auto a resnet8 learns 93.2 for "
    "95.3, 96.4 for 97.4 and 98.8 for 99.0 on digits."
)

EMBEDDING_PROXIES = (
    "Half of the --epochs takes less: of 10 % by auto a linear classifier learns 98.8 for 98.7 on digits, and two "
    "seeds share 42.4 for 50.4 % of 10 % by elfs on digits. So do 16 --proxies of 64: 98.7 for 98.7 and 29.7 for 50.4 "
    "% on digits."
)

TRAINING = (
    "--network linear, on the embeddings, takes less than resnet8: of 10 % by auto it learns 98.6 for 96.9 on digits, "
    "91.5 for 90.9 on synthetic:balanced. --network mlp: 98.0 for 96.9 on digits, 89.8 for 90.9 on "
    "synthetic:balanced. Half of the --iterations: 96.6 for 96.9 on digits, 89.2 for 90.9 on synthetic:balanced."
)

HARD_RATE_SEARCH = (
    "Without --hard-rate search it takes seconds: the rate found then is 1.2 points behind the best fixed one, in the "
    "mean of seven pools."
)

PAIRWISE = (
    "--blocks, in each of which is selected by itself, takes less: of 10 % in 8 blocks a linear classifier learns by "
    "k-center 97.6 for 99.1 on digits, 84.1 for 92.9 on crops; by herding 96.9 for 96.8 on digits, 88.6 for 91.7 on "
    "crops; by badge 89.4 for 87.7 on digits."
)

_THAN_PATCHES = (
    "--encoder pixels takes less: of the ten nearest 95 for 97 % are of one class on digits, 21 for 95 % on coloured "
    "shapes."
)
_THAN_LITE = (
    "--encoder patches takes less: of the ten nearest 59 for 66 % are of one category on emoji, 82 for 69 % of one "
    "class on drawings."
)
_THAN_OTHERS = (
    "--encoder lite takes 37 ms an image where vit_base_patch16_224 takes 364; what that costs in accuracy is not "
    "measured."
)


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
