"""What ``--json`` prints of stages, of what they offer, and of budgets."""

from elfs.cli._schemas import WORKSPACE, Schema, list_of, map_of, record_of, value_of

__all__ = ["STAGE_DOCUMENTS"]


_SUMMARY = record_of(
    "Facts of the stage, as the manifest keeps them; which ones depends on its options.",
    headline=value_of("str", "The line that people read."),
)
_COVERAGE = record_of(
    "Mean cosine of an image of the pool to the nearest one that is picked, against random draws of the same size.",
    selected=value_of("float", "Of the selection."),
    random=value_of("float", "Mean over the draws."),
    lowest=value_of("float", "Of the worst draw."),
    highest=value_of("float", "Of the best draw."),
    draws=value_of("int", "How many."),
    beaten=value_of("int", "How many the selection beats."),
)
_GROUPS = record_of(
    "Groups of images, where any are known.",
    said_by=value_of("str", "The file and column, or the expression."),
    groups=value_of("int", "Groups that have an eligible image."),
    alone=value_of("int", "Eligible images of no group; each counts as one of its own."),
    picked=value_of("int", "Groups that have a pick, images of no group included."),
    most=value_of("int", "Picks of the group with the most."),
    per_group=value_of("int?", "The limit; null where there is none."),
    whole=value_of("bool", "Whether groups are taken whole or not at all."),
)
_SELECTION = record_of(
    "The selection, where one was made; beside these, facts that depend on the method, as the manifest keeps them.",
    name=value_of("str", "What --selection takes."),
    path=value_of("str", "Its table: rank, id, pseudo_label, score, why, and group where groups are known."),
    headline=value_of("str", "The line that people read."),
    method=value_of("str", "How it was picked."),
    key=value_of("str", "The score that it goes by."),
    count=value_of("int", "Images picked."),
    eligible=value_of("int", "Images of which they were picked."),
    share=value_of("float", "The one by the other."),
    clusters=value_of("int", "Clusters that have an eligible image."),
    clusters_covered=value_of("int", "Clusters that have a pick."),
    fewest_per_cluster=value_of("int", "Picks of the cluster with the fewest."),
    most_per_cluster=value_of("int", "Picks of the cluster with the most."),
    without_score=value_of("int", "Images left out for want of a score."),
    copies_left_out=value_of("int", "Images left out as copies of others."),
    coverage=_COVERAGE,
    same_with_other_proxies=value_of("float", "Share of the picks that other proxies would have led to, too."),
    groups=_GROUPS,
    column=record_of(
        "The column that was balanced.",
        name=value_of("str", "What it is called."),
        images=map_of(value_of("int"), "Value to how many images of it were picked; empty for images without one."),
    ),
    maybe=(
        *("groups", "column"),
        *("clusters", "clusters_covered", "fewest_per_cluster", "most_per_cluster"),
        *("key", "without_score", "copies_left_out", "coverage", "same_with_other_proxies"),
    ),
)
_STAGES = record_of(
    "What `run` and the six stages made or found.",
    workspace=WORKSPACE,
    stages=list_of(
        record_of(
            stage=value_of("str", "embed, cluster, label, dynamics, score or select."),
            record=value_of("str", "Its name in the manifest, such as select/aum-0.1."),
            ran=value_of("bool", "False where it was fresh already."),
            seconds=value_of("float", "How long the call took."),
            smoke=value_of("bool", "Whether it comes from a smoke run."),
            summary=_SUMMARY,
        ),
        "In the order in which they ran.",
    ),
    selection=_SELECTION,
    maybe=("selection",),
)
_DRY_RUN = record_of(
    "What `--dry-run` of `run`, of a stage or of `plan` says.",
    workspace=WORKSPACE,
    plan=list_of(
        record_of(
            stage=value_of("str", "The stage."),
            record=value_of("str", "The record that it would make."),
            action=value_of("str", "run, skip or refuse."),
            reason=value_of("str", "Why."),
            seconds=value_of("float?", "What it takes on the CPUs of this machine, by measured rates."),
            memory_bytes=value_of("int?", "What the process holds at most."),
            disk_bytes=value_of("int?", "What it leaves in the workspace."),
            cheaper=value_of("str?", "What takes less, and what that costs, where it is known."),
        ),
        "One for each stage; costs are null where it does not run and where nothing is known of the pool, the time on "
        "GPUs, too.",
    ),
)
_SHARD = record_of(
    "What `embed --shard` made.",
    workspace=WORKSPACE,
    shard=record_of(
        number=value_of("int", "I of I/N."),
        count=value_of("int", "N of I/N."),
        start=value_of("int", "First row."),
        stop=value_of("int", "Last row + 1."),
        num_made=value_of("int", "Rows that this call made."),
        num_left_out=value_of("int", "Its images that cannot be used."),
        num_finished=value_of("int", "Rows of the pool that are there."),
        num_rows=value_of("int", "Rows of the pool."),
        is_published=value_of("bool", "Whether the pool has been merged before."),
        next_command=value_of("str", "What to type next."),
    ),
)
_ENCODERS = record_of(
    "What `embed --list-encoders` found.",
    encoders=list_of(
        record_of(
            name=value_of("str", "What --encoder takes."),
            dimensions=value_of(
                "int?", "Width of its embeddings; null where it depends on the images or is not known."
            ),
            input_size=value_of("int?", "Side of the images that it sees; null where it depends on them."),
            source=value_of("str?", "Where its weights are published."),
            licence=value_of("str", "Of the weights."),
        )
    ),
)
_SCORES = record_of(
    "What `score --list` prints.",
    scores=map_of(
        record_of(
            harder=value_of("str", "higher or lower: which end is hard."),
            source=value_of("str", "dynamics or embeddings."),
            summary=value_of("str", "What it means."),
            epochs=value_of("int", "Epochs that it needs at least."),
            windowed=value_of("bool", "Whether --window concerns it."),
        ),
        "Key to what there is to know of it.",
    ),
)
_METHODS = record_of(
    "What `select --list` prints.",
    methods=map_of(
        record_of(
            summary=value_of("str", "What it picks."),
            reads=list_of(value_of("str"), "Artifacts that it needs."),
            keyed=value_of("bool", "Whether --key concerns it."),
            prunes=value_of("bool", "Whether --hard-rate concerns it."),
            scores=list_of(value_of("str"), "Scores that it needs."),
            pairwise=value_of("bool", "Whether --blocks bounds its work."),
            instead=value_of("str?", "What to take where nothing is annotated."),
        ),
        "Name to what there is to know of it.",
    ),
)
_BUDGETS = record_of(
    "What `plan` found.",
    workspace=WORKSPACE,
    files=list_of(value_of("str"), "Tables that were written."),
    method=value_of("str", "How it picks."),
    key=value_of("str", "The score that it goes by."),
    eligible=value_of("int", "Images of which it picks."),
    bend=value_of("str?", "The budget beyond which each image adds less."),
    copies_left_out=value_of("int", "Images that are copies of others."),
    budgets=list_of(
        record_of(
            budget=value_of("str", "As it was written."),
            images=value_of("int", "How many that is."),
            coverage=value_of("float", "Mean cosine of an image to the nearest pick."),
            random=value_of("float", "The same of random draws, mean."),
            random_lowest=value_of("float", "The worst draw."),
            random_highest=value_of("float", "The best draw."),
            as_many_random=value_of("int?", "Random images that cover as well; null: more than were tried."),
            clusters=value_of("int?", "Clusters; null where there are none."),
            clusters_with_1=value_of("int?", "Clusters with a pick."),
            clusters_with_5=value_of("int?", "Clusters with five."),
        )
    ),
    left_out=list_of(record_of(budget=value_of("str"), reason=value_of("str")), "Budgets that cannot be."),
)

STAGE_DOCUMENTS: dict[str, Schema] = {
    "stages": _STAGES,
    "dry-run": _DRY_RUN,
    "shard": _SHARD,
    "encoders": _ENCODERS,
    "scores": _SCORES,
    "methods": _METHODS,
    "budgets": _BUDGETS,
}
"""Kind of a document to its JSON Schema."""
