"""The options of what trains with true labels: ``train`` and ``compare``."""

from dataclasses import dataclass

from elfs.budget import Budget
from elfs.catalog import RECIPES, SCORES, SELECTORS
from elfs.config.options import MAX_INTEGER, StageConfig, option
from elfs.errors import UsageError

__all__ = ["CompareConfig", "TrainConfig", "TrainingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig(StageConfig):
    """How networks are trained from scratch with true labels, and on which labels."""

    labels: str | None = option(
        None,
        "What annotators gave: CSV with id and label, an export of Label Studio or CVAT, COCO, a folder a class; or "
        "'folders', those of the pool. [auto: train takes what elfs annotate took in; else the source's own labels]",
    )
    recipe: str | None = option(None, "Hyper-parameters. [auto: as in dynamics]", choices=RECIPES)
    network: str | None = option(None, "Network; 'linear' and 'mlp' look at the embeddings. [auto: by recipe]")
    iterations: int | None = option(
        None,
        "Steps, whatever the budget; of L-BFGS at most for linear. [auto: by recipe: cifar 40,000, imagenet 300,000, "
        "small 600; 200 for linear]",
        minimum=1,
    )
    batch_size: int | None = option(None, "Images per step. [auto: by recipe]", minimum=2)
    learning_rate: float | None = option(
        None, "Peak rate of SGD. [auto: by recipe, in proportion to the batch]", minimum=0
    )
    weight_decay: float | None = option(None, "Weight decay. [auto: by recipe]", minimum=0)
    image_size: int | None = option(None, "Side of the images in pixels. [auto: by recipe]", minimum=4)
    sync_batch_norm: bool = option(True, "Batch norm by the whole batch, over all devices.")
    seed: int = option(0, "First seed.", minimum=0, maximum=MAX_INTEGER, internal=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(TrainingConfig):
    """A network from scratch on a selection with true labels."""

    selection: str | None = option(
        None, "Selection to train on. [auto: all that is annotated, without elfs annotate the one made last]"
    )
    seeds: int = option(1, "Repeat with this many seeds and report the spread.", minimum=1)
    folds: int = option(
        5,
        "Where no test image has a label: cross-validate over so many parts of the annotated images; 1 does not.",
        minimum=1,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig(TrainingConfig):
    """Methods x budgets x seeds: a selection and a network for each."""

    methods: str = option(
        "auto,elfs,random",
        "Methods, comma-separated: names, with @KEY or :HARD_RATE for one alone (elfs@el2n:0.3), or all.",
    )
    budgets: str = option("0.01,0.05,0.1", "Budgets, comma-separated: shares or counts.")
    key: str = option("aum", "Score to rank by, for methods that name none.", choices=SCORES)
    hard_rate: str | None = option(
        None, "Share to prune, for methods that name none, or 'search'. [auto: as in select]", aliases=("--mis-ratio",)
    )
    reference: bool = option(True, "Train on the whole pool too.")
    seeds: int = option(3, "Select and train with this many seeds.", minimum=1)
    rounds: int | None = option(
        None,
        "Play so many rounds instead of --budgets: the true labels answer, and every batch is chosen with what was "
        "annotated before. [auto: no rounds]",
        minimum=2,
    )
    batch: str = option("2%", "Images of a round: a share or a count.")
    first: str = option("auto", "Method of the first round, for all alike.", choices=SELECTORS)

    def __post_init__(self) -> None:
        super(CompareConfig, self).__post_init__()
        try:
            Budget.parse(self.batch)
        except UsageError as error:
            raise UsageError(error.message.replace("--budget", "--batch", 1)) from None
        if SELECTORS[self.first].instead is not None:
            raise UsageError(
                f"--first is {self.first}, which needs annotations: there are none before the first round."
            )
