"""The options of the six stages."""

import math
from dataclasses import dataclass, fields

from elfs.budget import Budget
from elfs.catalog import (
    BALANCE,
    CLUSTER_LOSSES,
    CLUSTER_METHODS,
    COLUMN,
    DEDUP,
    HEAD_CHOICES,
    NEIGHBOR_SEARCHES,
    RECIPES,
    SCORES,
    SELECTORS,
)
from elfs.config.options import MAX_INTEGER, StageConfig, option, option_of
from elfs.errors import UsageError

__all__ = [
    "ClusterConfig",
    "DynamicsConfig",
    "EmbedConfig",
    "LabelConfig",
    "PlanConfig",
    "ScoreConfig",
    "SelectConfig",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig(StageConfig):
    """Images to embeddings and nearest neighbours."""

    source: str = option("", "A data set by name, or a kind of source.", internal=True)
    files: str | None = option(
        None,
        "Embed the images that this file lists, one path a line or NUL; - reads standard input. Paths are relative to "
        "SOURCE, a folder, or else to the current one.",
    )
    data_root: str | None = option(None, "Folder that holds named data sets [default: ~/.cache/elfs/data].")
    download: bool = option(False, "Download a named data set that is not there yet.")
    encoder: str | None = option(
        None,
        "Encoder: a name of --list-encoders, any timm model, or several joined by '+'. [auto: for images larger than "
        "32 pixels vit_base_patch16_224.dino where its weights can be had, else lite if installed; else patches]",
    )
    weights: str | None = option(None, "Local checkpoint for the encoder (.safetensors, or .pth without code in it).")
    embeddings: str | None = option(None, "Embeddings of your own instead of an encoder (.npy or .safetensors).")
    ids: str | None = option(None, "File with one id a line for --embeddings, in its row order.")
    neighbors: int = option(
        50, "Nearest neighbours of each image, by cosine; heads use at most half a mean cluster.", minimum=1
    )
    neighbor_search: str = option("auto", "How to find the neighbours.", choices=NEIGHBOR_SEARCHES)
    batch_size: int = option(64, "Images per forward pass of the encoder.", minimum=1)
    limit: int | None = option(None, "Use only this many images, evenly spread. [auto: all]", minimum=1)
    max_broken: float = option(0.1, "Share of images that may be unreadable before embed stops.", minimum=0, maximum=1)
    max_pixels: int = option(178_956_970, "Images with more pixels than this count as broken.", minimum=1)
    seed: int = option(0, "Seed of every random choice.", minimum=0, maximum=MAX_INTEGER, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig(StageConfig):
    """Embeddings to clusters: on the neighbour graph, by heads (TEMI), or k-means."""

    clusters: int | None = option(
        None,
        "Number of clusters. [auto: the data set's classes; else what the graph of neighbours falls apart into best]",
        minimum=2,
    )
    method: str | None = option(
        None,
        "How to cluster. [auto: graph where it takes at most 3 times as long as 8 heads on a CPU, up to 20,000,000 "
        "images x clusters, and no option of the heads is given; else temi]",
        choices=CLUSTER_METHODS,
    )
    loss: str = option("temi", "Training loss of the heads.", choices=CLUSTER_LOSSES)
    head_choice: str = option("consensus", "Which of the heads labels the images.", choices=HEAD_CHOICES)
    heads: int | None = option(
        None, "Heads trained side by side. [auto: 8 below 20,000 images and on a CPU, else 50]", minimum=1
    )
    epochs: int | None = option(
        None, "Passes over the images. [auto: 800 steps below 20,000 images and on a CPU, else 200]", minimum=1
    )
    batch_size: int | None = option(
        None, "Images per step. [auto: 256 below 20,000 images and on a CPU, else 1024]", minimum=2
    )
    learning_rate: float | None = option(
        None,
        "Peak rate of AdamW. [auto: 1e-4 x batch / 256, ten times that below 20,000 images and on a CPU]",
        minimum=0,
    )
    min_learning_rate: float = option(1e-6, "Rate at the end of the cosine.", minimum=0)
    warmup_epochs: int = option(20, "Epochs of linear warm-up, at most half of all.", minimum=0)
    weight_decay: float = option(1e-4, "Weight decay of the matrices.", minimum=0)
    beta: float = option(0.6, "Exponent of the pointwise mutual information.", minimum=0, maximum=1)
    temperature: float = option(0.1, "Softmax temperature of student and teacher.", minimum=1e-6)
    teacher_momentum: float | None = option(
        None,
        "Share of the teacher kept at each step. [auto: 1 - 16 / steps, at most 0.996]",
        minimum=0,
        maximum=1,
    )
    prior_momentum: float = option(0.9, "Share of the cluster prior kept at each step.", minimum=0, maximum=1)
    hidden: int | None = option(
        None, "Width of a head's hidden layer. [auto: 256 below 20,000 images and on a CPU, else 512]", minimum=1
    )
    bottleneck: int | None = option(
        None, "Width of a head's bottleneck. [auto: 128 below 20,000 images and on a CPU, else 256]", minimum=1
    )
    standardize: bool = option(True, "Standardise every feature before the heads (k-means takes unit vectors).")
    seed: int = option(0, "Seed of every random choice.", minimum=0, maximum=MAX_INTEGER, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelConfig(StageConfig):
    """Cluster heads to one pseudo-label a sample."""

    head: int | None = option(None, "Take this head. [auto: all together, or the one that cluster chose]", minimum=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicsConfig(StageConfig):
    """Pseudo-labels to training dynamics of a proxy network."""

    recipe: str | None = option(
        None,
        "Hyper-parameters. [auto: ensemble without images, for mlp, and on a CPU above 290 images of 32x32; else "
        "small on a CPU and below 20,000 images, cifar up to 64 pixels, else imagenet]",
        choices=RECIPES,
    )
    network: str | None = option(
        None, "Proxy: 'resnet8', 'resnet18', 'mlp', 'linear' or any timm model. [auto: by recipe; mlp without images]"
    )
    proxies: int | None = option(
        None,
        "Train so many proxies and take the mean of what they say. [auto: 64 by the recipe ensemble, else 1]",
        minimum=1,
    )
    folds: int | None = option(
        None,
        "Deal the images out to so many folds, of which every proxy leaves one out; 1 leaves out none. [auto: 4 by the "
        "recipe ensemble, else 1]",
        minimum=1,
    )
    epochs: int | None = option(None, "Passes over the images. [auto: by recipe]", minimum=2)
    batch_size: int | None = option(None, "Images per step. [auto: by recipe]", minimum=2)
    learning_rate: float | None = option(
        None, "Peak rate of SGD. [auto: by recipe, in proportion to the batch]", minimum=0
    )
    weight_decay: float | None = option(None, "Weight decay. [auto: by recipe]", minimum=0)
    image_size: int | None = option(None, "Side of the images in pixels. [auto: by recipe]", minimum=4)
    sync_batch_norm: bool = option(True, "Batch norm by the whole batch, over all devices.")
    seed: int = option(0, "Seed of every random choice.", minimum=0, maximum=MAX_INTEGER, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig(StageConfig):
    """Training dynamics and embeddings to difficulty scores."""

    window: int = option(10, "Epochs of el2n (first), entropy, loss (last); window of dual, dyn_unc, tdds.", minimum=1)
    seed: int = option(0, "Seed of every random choice.", minimum=0, maximum=MAX_INTEGER, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectConfig(StageConfig):
    """Scores to a selection."""

    budget: str = option("0.1", "How many images: 0.1 or 10% is a share (copies do not count), 500 a count, 1.0 all.")
    key: str = option("aum", "Score to select by.", choices=SCORES)
    method: str = option("auto", "Selector; elfs is the paper's.", choices=SELECTORS)
    hard_rate: str | None = option(
        None,
        "Share pruned from the hard end, or 'search': train the proxy on each window and keep the best. [auto: by how "
        "well each window covers the pool, hard images most, and takes of every cluster]",
        aliases=("--mis-ratio",),
    )
    balance: str = option("none", "What gets equally many.", choices=BALANCE)
    dedup: str = option("exact", "Which copies of an image are left out, all but one.", choices=DEDUP)
    include: str | None = option(
        None, "Annotated images that the selection starts with: id list, CSV or selections/NAME, comma-separated."
    )
    exclude: str | None = option(
        None, "Images that are never selected: id list, CSV or selections/NAME, comma-separated."
    )
    holdout: str | None = option(
        None, "Draw so many images, a share or a count, at random as a test set: no later selection takes any of them."
    )
    groups: str | None = option(
        None,
        "Which images belong together: a CSV of ids and groups, or a regular expression for the group in the id.",
    )
    per_group: int | None = option(None, "Take at most so many of a group, annotated ones included.", minimum=1)
    by_group: bool = option(False, "Take whole groups, with the budget in images.")
    metadata: str | None = option(None, "A CSV about the images, for --balance column:NAME.")
    blocks: int = option(
        1, "Select in this many random blocks, for methods whose time grows with budget times pool.", minimum=1
    )
    name: str | None = option(None, "Name of the selection. [auto: key or method, and budget]")
    seed: int = option(0, "Seed of every random choice.", minimum=0, maximum=MAX_INTEGER, internal=True)

    def __post_init__(self) -> None:
        if self.hard_rate is not None:
            object.__setattr__(self, "hard_rate", _hard_rate(self.hard_rate))
        super(SelectConfig, self).__post_init__()
        if self.per_group is not None and self.by_group:
            raise UsageError("--per-group takes a part of each group, and --by-group all of it: give one of them.")
        if self.holdout is not None:
            if self.include is not None:
                raise UsageError("--holdout draws a test set of its own, and --include names images to begin with.")
            try:
                Budget.parse(self.holdout)
            except UsageError as error:
                raise UsageError(error.message.replace("--budget", "--holdout")) from None
            drawn = {"budget": self.holdout, "method": "random", "balance": "none", "blocks": 1}
            for name, value in (drawn | {"per_group": None, "by_group": False}).items():
                object.__setattr__(self, name, value)
        Budget.parse(self.budget)
        if self.blocks > 1 and not SELECTORS[self.method].pairwise:
            pairwise = ", ".join(name for name, method in SELECTORS.items() if method.pairwise)
            raise UsageError(f"--blocks is for the methods {pairwise}; {self.method} does not need it.")

    @property
    def balances_pseudo_labels(self) -> bool:
        """Whether pseudo-labels are balanced: clusters, or the classes that they were learned as."""
        return self.balance in ("cluster", "class")

    @property
    def column(self) -> str | None:
        """The column that is balanced; None where it is none."""
        return self.balance.removeprefix(COLUMN) if self.balance.startswith(COLUMN) else None

    @property
    def is_limited(self) -> bool:
        """Whether groups decide what is selected: a limit on each, or whole ones, as in a test set."""
        return self.per_group is not None or self.by_group or self.holdout is not None

    @property
    def fixed_hard_rate(self) -> float | None:
        """The share to prune where it was typed; None where it is worked out."""
        return None if self.hard_rate in (None, "search") else float(str(self.hard_rate))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanConfig(StageConfig):
    """What budgets would buy."""

    budgets: str = option("0.005,0.01,0.02,0.05,0.1,0.2,0.3,0.5", "Budgets, comma-separated: shares or counts.")
    key: str = option_of(SelectConfig, "key")
    method: str = option_of(SelectConfig, "method")
    balance: str = option_of(SelectConfig, "balance")
    dedup: str = option_of(SelectConfig, "dedup")
    include: str | None = option_of(SelectConfig, "include")
    exclude: str | None = option_of(SelectConfig, "exclude")
    groups: str | None = option_of(SelectConfig, "groups")
    per_group: int | None = option_of(SelectConfig, "per_group")
    by_group: bool = option_of(SelectConfig, "by_group")
    metadata: str | None = option_of(SelectConfig, "metadata")
    seed: int = option_of(SelectConfig, "seed")

    def __post_init__(self) -> None:
        super(PlanConfig, self).__post_init__()
        self.selections()

    def selections(self) -> tuple[SelectConfig, ...]:
        """Return what would be selected with each budget, in the order of the budgets."""
        shared = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "budgets"}
        budgets = dict.fromkeys(part.strip() for part in self.budgets.split(",") if part.strip())
        if not budgets:
            raise UsageError(f"--budgets is {self.budgets!r}, expected shares or counts, comma-separated.")
        return tuple(SelectConfig(budget=budget, **shared) for budget in budgets)


def _hard_rate(value: object) -> str:
    """Return 'search', or a share in the one way to write it."""
    if value == "search":
        return value
    expected = "expected a share from 0 to 1, auto or search"
    try:
        share = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise UsageError(f"--hard-rate is {value!r}, {expected}.")
    return f"{share:g}" if float(f"{share:g}") == share else repr(share)
