"""The documents that ``--json`` prints: the JSON Schema of each kind, by which ``docs/json.md`` and tests are made.

Within a version, fields are only added: none goes, is renamed or gets another meaning.
"""

from typing import Any

from elfs.cli._errors import EXIT_CODES
from elfs.cli._schemas import PATH, REMARKS, WORKSPACE, Schema, list_of, map_of, record_of, value_of
from elfs.cli._stage_documents import STAGE_DOCUMENTS

__all__ = ["DOCUMENTS", "schema_name"]

_VERSIONS: dict[str, int] = {}
"""Kind to its version, where that is not 1."""


def schema_name(kind: str) -> str:
    """Return what a document says it is.

    Parameters
    ----------
    kind : str
        A key of ``DOCUMENTS``.

    Returns
    -------
    str
        Such as ``elfs/status/1``, where 1 is the version.
    """
    return f"elfs/{kind}/{_VERSIONS.get(kind, 1)}"


_REPORT = record_of(
    "What `report` wrote.",
    selection=value_of("str?", "The selection that it shows."),
    path=PATH,
    warnings=list_of(value_of("str"), "What a reader should know."),
)
_EXPORT = record_of(
    "What `export -o` wrote.",
    selection=value_of("str", "The selection."),
    format=value_of("str", "As --format."),
    images=value_of("int", "How many."),
    path=PATH,
)
_ANNOTATED: dict[str, Any] = {
    "annotated": value_of("int", "Images that people have annotated."),
    "classes": map_of(value_of("int"), "Class to its images."),
    "held_out": value_of("int", "Those of a random test set."),
    "batches": value_of("int", "Files that were taken in."),
}
_CAME_TO_NOTHING: dict[str, Any] = {
    "unknown": value_of("int", "Labels of images that the workspace does not have."),
    "ambiguous": value_of("int", "Names that could be several images."),
    "ties": value_of("int", "Images on which annotators are even."),
    "skipped": value_of("int", "Tasks without a label."),
}
_COUNTS: dict[str, Any] = {
    "new": value_of("int", "Images that had no label before."),
    "changed": value_of("int", "Images that got another one."),
    "same": value_of("int", "Images that had the same."),
    "removed": value_of("int", "Images whose label was taken out."),
    **_CAME_TO_NOTHING,
    "not_in_pool": value_of("int", "Annotated images that are gone, broken or of the test split."),
}
_ANNOTATE = record_of(
    "What `annotate` took in, or holds.",
    workspace=WORKSPACE,
    dry_run=value_of("bool", "Whether nothing was changed."),
    **_ANNOTATED,
    **_COUNTS,
    changes=list_of(
        record_of(id=value_of("str"), before=value_of("str"), after=value_of("str")), "Images that got another label."
    ),
    selections=list_of(
        record_of(name=value_of("str"), images=value_of("int"), annotated=value_of("int")),
        "How far people are with each.",
    ),
    remarks=REMARKS,
    maybe=tuple(_COUNTS),
)
_DOUBTFUL = record_of(
    "What `annotate --doubtful` lists, the most doubtful first.",
    workspace=WORKSPACE,
    doubtful=list_of(
        record_of(
            image=value_of("str", "Its id."),
            name=value_of("str", "The class that people gave."),
            taken_for=value_of("str", "The class that a classifier sees which has not seen the label."),
            support=value_of("float", "Probability of the class that people gave."),
        )
    ),
    path=value_of("str?", "The table that was written."),
)
_PROTOCOL: dict[str, Any] = {
    "network": value_of("str", "As --network."),
    "iterations": value_of("int", "Training steps."),
    "test_images": value_of("int", "Images that it was tested on."),
}
_TRAIN = record_of(
    "What `train` measured; beside these, what the training recipe says.",
    selection=value_of("str", "What it learned from."),
    headline=value_of("str", "The line that people read."),
    images=value_of("int", "Annotated images that it learned from."),
    **_PROTOCOL,
    folds=value_of("int", "Folds of the cross-validation; 0 where there is a test set."),
    groups=value_of("int?", "Groups of the images, none of which is split; null where none are known."),
    held_out=value_of("int", "Test images that were drawn at random from the pool."),
    unlabelled=value_of("int", "Images of the pool of which no label is known."),
    accuracies=list_of(
        value_of("float"), "Share of right classes, of each seed; empty where no test image has a label."
    ),
    mean=value_of("float?", "Over the seeds."),
    deviation=value_of("float?", "Sample standard deviation; null with one seed."),
    classes=list_of(value_of("str"), "Names, by number."),
    confusion=list_of(
        list_of(value_of("int")), "True class, named class, images: over all seeds, none left out but zeros."
    ),
    labels=record_of(
        "What became of the labels.",
        selected=value_of("int", "Images that were asked for."),
        labelled=value_of("int", "Of them, those with a label."),
        without=value_of("str", "Some of those without."),
        outside=value_of("int", "Labels of images that were not asked for."),
        **_CAME_TO_NOTHING,
        remarks=REMARKS,
        maybe=tuple(_CAME_TO_NOTHING),
    ),
)
_PREDICT = record_of(
    "What `predict -o` wrote.",
    selection=value_of("str", "The selection that the network was trained on."),
    format=value_of("str", "As --format."),
    images=value_of("int", "Images that it named."),
    confident=value_of("int", "Of them, with a confidence of 0.9 or more."),
    by_class=map_of(value_of("int"), "Class to its images."),
    path=PATH,
)
_CELL: dict[str, Any] = {
    "method": value_of("str"),
    "budget": value_of("str"),
    "images": value_of("int?", "Null where nothing could be selected."),
    "accuracies": list_of(value_of("float"), "Of each seed."),
    "mean": value_of("float?"),
    "deviation": value_of("float?", "Sample standard deviation."),
    "reason": value_of("str?", "Why there is none."),
}
_AGAINST = record_of(
    "The difference to random, seed by seed.",
    null=True,
    mean=value_of("float"),
    standard_error=value_of("float?"),
    verdict=value_of("str?", "above, below or within the spread."),
)
_COMPARE = record_of(
    "What `compare` measured.",
    workspace=WORKSPACE,
    protocol=record_of("Network and recipe of every training.", **_PROTOCOL),
    seeds=list_of(value_of("int")),
    cells=list_of(record_of(**_CELL, best=value_of("bool", "Of its budget."), against_random=_AGAINST)),
    reference=record_of("The same network on the whole pool.", null=True, **_CELL),
    learning=record_of(
        "What more labels are expected to bring.",
        more=value_of("int", "How many more."),
        gains=map_of(
            record_of(estimate=value_of("float"), low=value_of("float"), high=value_of("float")), "By method."
        ),
    ),
    curves=list_of(
        record_of(
            method=value_of("str"),
            area=value_of("float", "Mean accuracy between the first and the last round."),
            deviation=value_of("float?"),
            labels_needed=value_of("float?", "To reach what random reaches at the end."),
            against_random=_AGAINST,
        ),
        "With --rounds.",
    ),
    files=list_of(value_of("str"), "Tables and figure that were written."),
    smoke=value_of("bool", "Whether smoke settings went into it."),
    maybe=("curves",),
)
_COMPARE_DRY_RUN = record_of(
    "What `compare --dry-run` says.",
    workspace=WORKSPACE,
    cells=list_of(
        record_of(
            method=value_of("str"),
            budget=value_of("str"),
            seed=value_of("int"),
            selection=value_of("str?", "The selection that it would make."),
            images=value_of("int", "That the network learns from."),
            action=value_of("str", "recorded, or what would be done."),
            seconds=value_of("float?", "Of a training, where it is to be done and the time is known."),
            accuracy=value_of("float?", "Of a recorded training, in [0, 1]."),
        )
    ),
)
_TRAIN_DRY_RUN = record_of(
    "What `train --dry-run` says.",
    workspace=WORKSPACE,
    selection=value_of("str", "What is learned from; annotations: all that people have annotated."),
    action=value_of("str", "run, or keep where it is recorded."),
    images=value_of("int", "That are learned from."),
    test_images=value_of("int", "0: it is cross-validated."),
    folds=value_of("int", "Parts over which is cross-validated; 0: there is a test image."),
    network=value_of("str"),
    trainings=value_of("int", "How many there are to do."),
    steps=value_of("int", "Of each; of a linear network at most."),
    seconds=value_of("float?", "Of all; none where nobody knows."),
)
_EVALUATE = record_of(
    "What `evaluate` says.",
    splits=map_of(
        record_of(
            samples=value_of("int", "Labelled images."),
            accuracy=value_of("float", "Share of right pseudo-labels, clusters matched to classes one to one."),
            nmi=value_of("float", "Normalised mutual information."),
            ami=value_of("float", "Adjusted mutual information."),
            ari=value_of("float", "Adjusted Rand index."),
        ),
        "train and test.",
    ),
    selections=list_of(
        record_of(
            name=value_of("str"),
            count=value_of("int", "Images."),
            labelled=value_of("int", "Of them, those with a label."),
            classes=value_of("int", "Classes among them."),
            wrong=value_of("float", "Share of them whose pseudo-label is wrong."),
        )
    ),
    remarks=REMARKS,
)
_STATUS = record_of(
    "What `status` says.",
    workspace=WORKSPACE,
    exists=value_of("bool", "Whether there is a workspace; without one the rest is empty."),
    source=record_of(
        "What was embedded.",
        source=value_of("str"),
        root=value_of("str?", "Folder of the images."),
        maybe=("source", "root"),
    ),
    stages=list_of(
        record_of(
            record=value_of("str", "Its name in the manifest."),
            stage=value_of("str"),
            state=value_of("str", "fresh, kept, stale or missing."),
            reason=value_of("str?", "Why it is stale or kept."),
            command=value_of("str", "What makes it."),
            headline=value_of("str", "The line that people read."),
            smoke=value_of("bool", "Whether it comes from a smoke run."),
            seconds=value_of("float?", "How long it took."),
        )
    ),
    doing=record_of(
        "What runs, or was interrupted; empty where nothing is.",
        record=value_of("str"),
        work=value_of("str"),
        done=value_of("int"),
        total=value_of("int"),
        unit=value_of("str"),
        pid=value_of("int"),
        host=value_of("str"),
        state=value_of("str", "running or interrupted."),
        command=value_of("str?", "What goes on."),
        maybe=("record", "work", "done", "total", "unit", "pid", "host", "state", "command"),
    ),
    images=map_of(value_of("int"), "images, train, test, and missing, broken, unsupported, too_large ones."),
    left_out=list_of(
        record_of(id=value_of("str"), outcome=value_of("str"), why=value_of("str")), "Images that cannot be used."
    ),
    selections=list_of(value_of("str"), "Their tables."),
    default_selection=value_of("str?", "The one that other commands take where none is named."),
    annotations=record_of("What people said.", **_ANNOTATED, maybe=tuple(_ANNOTATED)),
    next=value_of("str?", "The command that mends what is stale or missing."),
)
_VERIFY = record_of(
    "What `verify` found; the exit code is 5 where that is something.",
    artifacts=value_of("int", "Artifacts that were read."),
    findings=list_of(
        record_of(
            artifact=value_of("str"),
            file=value_of("str"),
            problem=value_of("str"),
            hint=value_of("str?", "The command that makes it anew."),
        )
    ),
)
_DOCTOR = record_of(
    "What `doctor` looked at; the exit code is 8 where a check is bad.",
    checks=list_of(
        record_of(
            name=value_of("str"), state=value_of("str", "ok, note or bad."), text=value_of("str", "What was found.")
        )
    ),
)
_ERROR = record_of(
    "What is wrong, in place of any other document; the exit code is `code`.",
    error=record_of(
        code={"type": "integer", "enum": [code for code in EXIT_CODES if code], "description": "The exit code."},
        message=value_of("str", "What is wrong."),
        hint=value_of("str?", "The next command to type."),
    ),
)

DOCUMENTS: dict[str, Schema] = {
    kind: schema
    | {
        "properties": {"schema": {"const": schema_name(kind), "description": "Kind and version."}}
        | schema["properties"],
        "required": ["schema", *schema["required"]],
    }
    for kind, schema in {
        **STAGE_DOCUMENTS,
        "report": _REPORT,
        "export": _EXPORT,
        "annotate": _ANNOTATE,
        "doubtful": _DOUBTFUL,
        "train": _TRAIN,
        "train-dry-run": _TRAIN_DRY_RUN,
        "predict": _PREDICT,
        "compare": _COMPARE,
        "compare-dry-run": _COMPARE_DRY_RUN,
        "evaluate": _EVALUATE,
        "status": _STATUS,
        "verify": _VERIFY,
        "doctor": _DOCTOR,
        "error": _ERROR,
    }.items()
}
"""Kind of a document to its JSON Schema; every document says ``"schema": "elfs/<kind>/<version>"``."""
