"""One frozen dataclass per stage: every option's name, type, default, bounds and help, stated once.

The command line, ``elfs.toml``, ``ELFS_*`` variables, the manifest and ``docs/cli.md`` are generated from these fields
or checked against them. A field whose value is None is ``auto``: the stage works it out from the data by the rule that
the help states, and records what it chose.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from elfs.budget import Budget
from elfs.catalog import (
    BALANCE,
    CLUSTER_LOSSES,
    CLUSTER_METHODS,
    DEDUP,
    RECIPES,
    SCORES,
    SELECTORS,
    choose,
    suggestion,
)
from elfs.errors import UsageError

__all__ = [
    "CONFIGS",
    "DEFAULT_WORKSPACE",
    "SMOKE",
    "ClusterConfig",
    "CompareConfig",
    "DynamicsConfig",
    "EmbedConfig",
    "LabelConfig",
    "ScoreConfig",
    "SelectConfig",
    "StageConfig",
    "TrainConfig",
    "TrainingConfig",
    "as_json",
    "field_type",
    "from_json",
]

ConfigT = TypeVar("ConfigT", bound="StageConfig")

DEFAULT_WORKSPACE = Path("elfs-workspace")
"""Where everything is written unless ``--workspace`` or ``ELFS_WORKSPACE`` says otherwise."""

MAX_SEED = 2**63 - 1  # it must fit eight bytes


def _option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: dict[str, Any] | None = None,
    aliases: tuple[str, ...] = (),
    internal: bool = False,
) -> Any:
    """Declare an option; `aliases` are hidden spellings, `internal` ones are not shown on the command line."""
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "aliases": aliases,
        "internal": internal,
    }
    return dataclasses.field(default=default, metadata=metadata)


def field_type(field: "dataclasses.Field[Any]") -> tuple[type, bool]:
    """Return the plain type of a config field, and whether it may be None (``auto``).

    Parameters
    ----------
    field : dataclasses.Field
        A field of a stage's config.

    Returns
    -------
    tuple of (type, bool)
        One of str, int, float, bool; True where None is allowed.
    """
    annotation: Any = field.type
    if isinstance(annotation, types.UnionType):
        plain = [part for part in typing.get_args(annotation) if part is not type(None)]
        return plain[0], True
    return annotation, False


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """What every stage's config shares: the checks that the fields declare."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            plain, optional = field_type(field)
            spelling = "--" + field.name.replace("_", "-")
            if value is None:
                if not optional:
                    raise UsageError(f"{spelling} needs a value of type {plain.__name__}.")
                continue
            if plain is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
                object.__setattr__(self, field.name, value)
            if not isinstance(value, plain) or (plain is not bool and isinstance(value, bool)):
                raise UsageError(f"{spelling} is {value!r}, expected {plain.__name__}.")
            self._check_range(spelling, value, field.metadata)

    @staticmethod
    def _check_range(spelling: str, value: Any, metadata: typing.Mapping[str, Any]) -> None:
        low, high = metadata.get("minimum"), metadata.get("maximum")
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{spelling} is {value}, expected a finite number.")
        if low is not None and value < low:
            raise UsageError(f"{spelling} is {shown}, expected at least {low:g}.")
        if high is not None and value > high:
            raise UsageError(f"{spelling} is {shown}, expected at most {high}.")
        if metadata.get("choices") is not None:
            choose(f"value for {spelling}:", value, metadata["choices"])


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig(StageConfig):
    """Images to embeddings and nearest neighbours."""

    source: str = _option("", "A data set by name, or a kind of source.", internal=True)
    files: str | None = _option(
        None,
        "Embed the images that this file lists, one path a line or NUL; - reads standard input. Paths are relative to "
        "SOURCE, a folder, or else to the current one.",
    )
    data_root: str | None = _option(None, "Folder that holds named data sets [default: ~/.cache/elfs/data].")
    download: bool = _option(False, "Download a named data set that is not there yet.")
    encoder: str | None = _option(
        None,
        "Encoder: a name of --list-encoders, any timm model, or several joined by '+'. [auto: "
        "vit_base_patch16_224.dino where its weights can be had and images are larger than 32 pixels, else patches]",
    )
    weights: str | None = _option(None, "Local checkpoint for the encoder (.safetensors, or .pth without code in it).")
    embeddings: str | None = _option(None, "Embeddings of your own instead of an encoder (.npy or .safetensors).")
    ids: str | None = _option(None, "File with one id a line for --embeddings, in its row order.")
    neighbors: int = _option(
        50, "Nearest neighbours of each image, by cosine; heads use at most half a mean cluster.", minimum=1
    )
    batch_size: int = _option(64, "Images per forward pass of the encoder.", minimum=1)
    limit: int | None = _option(None, "Use only this many images, evenly spread. [auto: all]", minimum=1)
    max_broken: float = _option(0.1, "Share of images that may be unreadable before embed stops.", minimum=0, maximum=1)
    max_pixels: int = _option(178_956_970, "Images with more pixels than this count as broken.", minimum=1)
    seed: int = _option(0, "Seed of every random choice.", minimum=0, maximum=MAX_SEED, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig(StageConfig):
    """Embeddings to cluster heads (TEMI), or k-means centres."""

    clusters: int | None = _option(
        None, "Number of clusters. [auto: the data set's classes; else the best silhouette of k-means]", minimum=2
    )
    method: str = _option("temi", "How to cluster.", choices=CLUSTER_METHODS)
    loss: str = _option("temi", "Training loss of the heads.", choices=CLUSTER_LOSSES)
    heads: int | None = _option(None, "Heads trained side by side. [auto: 8 below 20,000 images, else 50]", minimum=1)
    epochs: int | None = _option(
        None, "Passes over the images. [auto: 200, or 800 steps below 20,000 images]", minimum=1
    )
    batch_size: int | None = _option(None, "Images per step. [auto: 1024, or 256 below 20,000 images]", minimum=2)
    learning_rate: float | None = _option(
        None, "Peak rate of AdamW. [auto: 1e-4 x batch / 256, ten times that below 20,000 images]", minimum=0
    )
    min_learning_rate: float = _option(1e-6, "Rate at the end of the cosine.", minimum=0)
    warmup_epochs: int = _option(20, "Epochs of linear warm-up, at most half of all.", minimum=0)
    weight_decay: float = _option(1e-4, "Weight decay of the matrices.", minimum=0)
    beta: float = _option(0.6, "Exponent of the pointwise mutual information.", minimum=0, maximum=1)
    temperature: float = _option(0.1, "Softmax temperature of student and teacher.", minimum=1e-6)
    teacher_momentum: float | None = _option(
        None,
        "Share of the teacher kept at each step. [auto: 1 - 16 / steps, at most 0.996]",
        minimum=0,
        maximum=1,
    )
    prior_momentum: float = _option(0.9, "Share of the cluster prior kept at each step.", minimum=0, maximum=1)
    hidden: int | None = _option(
        None, "Width of a head's hidden layer. [auto: 512, or 256 below 20,000 images]", minimum=1
    )
    bottleneck: int | None = _option(
        None, "Width of a head's bottleneck. [auto: 256, or 128 below 20,000 images]", minimum=1
    )
    standardize: bool = _option(True, "Standardise every feature before the heads (k-means takes unit vectors).")
    seed: int = _option(0, "Seed of every random choice.", minimum=0, maximum=MAX_SEED, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelConfig(StageConfig):
    """Cluster heads to one pseudo-label a sample."""

    head: int | None = _option(None, "Take this head. [auto: the one that cluster chose]", minimum=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicsConfig(StageConfig):
    """Pseudo-labels to training dynamics of a proxy network."""

    recipe: str | None = _option(
        None,
        "Hyper-parameters. [auto: small below 20,000 images or without any, cifar up to 64 pixels, else imagenet]",
        choices=RECIPES,
    )
    network: str | None = _option(
        None, "Proxy: 'resnet8', 'resnet18', 'mlp' or any timm model. [auto: by recipe; mlp without images]"
    )
    epochs: int | None = _option(None, "Passes over the images. [auto: by recipe]", minimum=2)
    batch_size: int | None = _option(None, "Images per step. [auto: by recipe]", minimum=2)
    learning_rate: float | None = _option(None, "Peak rate of SGD. [auto: by recipe]", minimum=0)
    weight_decay: float | None = _option(None, "Weight decay. [auto: by recipe]", minimum=0)
    image_size: int | None = _option(None, "Side of the images in pixels. [auto: by recipe]", minimum=4)
    seed: int = _option(0, "Seed of every random choice.", minimum=0, maximum=MAX_SEED, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig(StageConfig):
    """Training dynamics and embeddings to difficulty scores."""

    window: int = _option(10, "Epochs of el2n (first), entropy, loss (last); window of dual, dyn_unc, tdds.", minimum=1)
    seed: int = _option(0, "Seed of every random choice.", minimum=0, maximum=MAX_SEED, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectConfig(StageConfig):
    """Scores to a selection."""

    budget: str = _option("0.1", "How many images: 0.1 or 10% is a share, 500 a count, 1.0 all, 1 one.")
    key: str = _option("aum", "Score to select by.", choices=SCORES)
    method: str = _option("elfs", "Selector.", choices=SELECTORS)
    hard_rate: str | None = _option(
        None,
        "Share pruned from the hard end, or 'search': train the proxy on each window and keep the best. [auto: the "
        "window on which a linear probe learns the pseudo-labels best]",
        aliases=("--mis-ratio",),
    )
    balance: str = _option("none", "Whether every cluster gets equally many.", choices=BALANCE)
    dedup: str = _option("exact", "Which copies of an image are left out, all but one.", choices=DEDUP)
    include: str | None = _option(
        None, "Annotated images that the selection starts with: id list, CSV or selections/NAME, comma-separated."
    )
    exclude: str | None = _option(
        None, "Images that are never selected: id list, CSV or selections/NAME, comma-separated."
    )
    blocks: int = _option(
        1, "Select in this many random blocks, for methods whose time grows with budget times pool.", minimum=1
    )
    name: str | None = _option(None, "Name of the selection. [auto: key or method, and budget]")
    seed: int = _option(0, "Seed of every random choice.", minimum=0, maximum=MAX_SEED, internal=True)

    def __post_init__(self) -> None:
        if self.hard_rate is not None:
            object.__setattr__(self, "hard_rate", _hard_rate(self.hard_rate))
        super(SelectConfig, self).__post_init__()
        Budget.parse(self.budget)
        if self.blocks > 1 and not SELECTORS[self.method].pairwise:
            pairwise = ", ".join(name for name, method in SELECTORS.items() if method.pairwise)
            raise UsageError(f"--blocks is for the methods {pairwise}; {self.method} does not need it.")

    @property
    def fixed_hard_rate(self) -> float | None:
        """The share to prune where it was typed; None where it is worked out."""
        return None if self.hard_rate in (None, "search") else float(str(self.hard_rate))


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig(StageConfig):
    """How networks are trained from scratch with true labels, and on which labels."""

    labels: str | None = _option(
        None, "CSV with the columns id and label, or 'folders': one folder a class. [auto: the source's own labels]"
    )
    recipe: str | None = _option(None, "Hyper-parameters. [auto: as in dynamics]", choices=RECIPES)
    network: str | None = _option(None, "Network. [auto: by recipe]")
    iterations: int | None = _option(
        None, "Steps, whatever the budget. [auto: by recipe: cifar 40,000, imagenet 300,000, small 600]", minimum=1
    )
    batch_size: int | None = _option(None, "Images per step. [auto: by recipe]", minimum=2)
    learning_rate: float | None = _option(None, "Peak rate of SGD. [auto: by recipe]", minimum=0)
    weight_decay: float | None = _option(None, "Weight decay. [auto: by recipe]", minimum=0)
    image_size: int | None = _option(None, "Side of the images in pixels. [auto: by recipe]", minimum=4)
    seed: int = _option(0, "First seed.", minimum=0, maximum=MAX_SEED, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(TrainingConfig):
    """A network from scratch on a selection with true labels."""

    selection: str | None = _option(None, "Selection to train on. [auto: the one made last]")
    seeds: int = _option(1, "Repeat with this many seeds and report the spread.", minimum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig(TrainingConfig):
    """Methods x budgets x seeds: a selection and a network for each."""

    methods: str = _option(
        "elfs,random",
        "Methods, comma-separated: names, with @KEY or :HARD_RATE for one alone (elfs@el2n:0.3), or all.",
    )
    budgets: str = _option("0.01,0.05,0.1", "Budgets, comma-separated: shares or counts.")
    key: str = _option("aum", "Score to rank by, for methods that name none.", choices=SCORES)
    hard_rate: str | None = _option(
        None, "Share to prune, for methods that name none, or 'search'. [auto: as in select]", aliases=("--mis-ratio",)
    )
    reference: bool = _option(True, "Train on the whole pool too.")
    seeds: int = _option(3, "Select and train with this many seeds.", minimum=1)


CONFIGS: dict[str, type[StageConfig]] = {
    "embed": EmbedConfig,
    "cluster": ClusterConfig,
    "label": LabelConfig,
    "dynamics": DynamicsConfig,
    "score": ScoreConfig,
    "select": SelectConfig,
    "train": TrainConfig,
    "compare": CompareConfig,
}

SMOKE: dict[str, dict[str, Any]] = {
    "embed": {"limit": 300, "neighbors": 10},
    "cluster": {"heads": 2, "epochs": 20, "batch_size": 128, "warmup_epochs": 2, "hidden": 64, "bottleneck": 32},
    "dynamics": {"epochs": 4, "batch_size": 64, "image_size": 16},
    "score": {"window": 2},
    "train": {"iterations": 20},
    "compare": {"iterations": 20, "seeds": 2},
}
"""What ``--smoke`` sets: enough to walk every stage's code, far too little to mean anything."""


def as_json(config: StageConfig) -> dict[str, Any]:
    """Return the config as plain JSON values, one per field.

    Parameters
    ----------
    config : StageConfig
        Any stage's config.

    Returns
    -------
    dict
        Field names to values; ``from_json`` gives the equal config back.
    """
    return dataclasses.asdict(config)


def from_json(config_class: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Return the config that `values` describe, defaults where they are silent.

    Parameters
    ----------
    config_class : type
        Which stage's config.
    values : dict
        Field names to plain values.

    Returns
    -------
    StageConfig
        A checked instance of `config_class`.

    Raises
    ------
    UsageError
        If a key is no field of `config_class`, or a value is out of its range.
    """
    known = [field.name for field in dataclasses.fields(config_class)]
    for key in values:
        if key not in known:
            raise UsageError(f"unknown setting '{key}'.{suggestion(key, known)} Available: {', '.join(known)}.")
    return config_class(**values)
