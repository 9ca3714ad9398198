"""What ``elfs annotate`` does: labels from people come into the workspace, and go out of it again."""

import contextlib
import datetime
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from elfs.annotations.asking import AnnotationProgress, askers, progress_of
from elfs.annotations.kept import ARTIFACT, FILE, Annotations, kept_annotations
from elfs.annotations.matching import match_answers
from elfs.annotations.merging import added, removed
from elfs.annotations.reading import is_document, read_answers
from elfs.annotations.spellings import alike_remarks
from elfs.data.id_lists import read_ids
from elfs.data.samples import SampleTable
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError, MissingUpstreamError
from elfs.pipeline.execution import writing
from elfs.pipeline.selections import some
from elfs.workspace.commands import command_line
from elfs.workspace.draft import Draft, open_draft
from elfs.workspace.files import digest_json, storage_errors
from elfs.workspace.names import PARTIAL_NAME
from elfs.workspace.workspace import Workspace

__all__ = ["RECORD", "Report", "annotate", "remove_annotations", "show_annotations"]

RECORD = "annotate"
_NAMED = 3


@dataclass(frozen=True)
class Report:
    """What became of the annotations of a workspace.

    Attributes
    ----------
    after : Annotations
        What the workspace holds then.
    progress : list of AnnotationProgress
        How far people are with each selection.
    remarks : list of str
        What a person should know, a sentence each.
    counts : dict of str to int
        ``new``, ``changed``, ``same``, ``removed`` images; ``unknown``, ``ambiguous``, ``ties`` and ``skipped`` ones of
        the file, and ``not_in_pool``, annotated images that are gone, broken or of the test split.
    changed : tuple of (str, str, str)
        Id, class before and class after of each image that got another one.
    """

    after: Annotations
    progress: list[AnnotationProgress]
    remarks: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    changed: tuple[tuple[str, str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = self.after.facts() | self.counts | {"remarks": self.remarks}
        found["changes"] = [{"id": image, "before": old, "after": new} for image, old, new in self.changed]
        found["selections"] = [
            {"name": item.selection, "images": item.images, "annotated": item.annotated} for item in self.progress
        ]
        return found


def annotate(path: Path, file: Path, *, dry_run: bool = False) -> Report:
    """Take the labels of a file into the workspace; later ones win.

    Parameters
    ----------
    path : Path
        The workspace.
    file : Path
        What `elfs.annotations.reading.read_answers` reads.
    dry_run : bool
        Say what would change, and change nothing.

    Returns
    -------
    Report
        What is new, what has changed, what came to nothing and why.

    Raises
    ------
    InputDataError
        If the file cannot be read, holds no label, or names no image of the workspace; if it is a folder around the
        workspace or the images themselves.
    MissingUpstreamError
        If there is no workspace with images.
    """
    with _opened(path, dry_run) as workspace:
        table = _samples(workspace)
        _refuse_surroundings(file, workspace)
        answers = read_answers(file)
        found = match_answers(answers, table, root=workspace.manifest.source_root, said=str(file))
        rows = [row for row, position in enumerate(found.values.tolist()) if position >= 0]
        if not rows:
            raise InputDataError(f"{file} gives no image a label{_why(found.remarks())}.")
        named = dict(zip(table.ids(rows), (found.names[found.values[row]] for row in rows), strict=True))
        before = kept_annotations(workspace)
        change = added(before, named, askers(workspace))
        counts = {"new": len(change.new), "changed": len(change.changed), "same": change.same, "removed": 0}
        counts |= found.counts()
        about_names = set(alike_remarks(found.names))
        wrong = replace(found, skipped=0).remarks()  # to skip an image is no fault; `counts` have it
        remarks = [remark for remark in wrong if remark not in about_names]
        if not dry_run and change.after != before:
            _publish(workspace, change.after)
        return _report(workspace, table, change.after, remarks, counts, change.changed)


def _refuse_surroundings(file: Path, workspace: Workspace) -> None:
    """Refuse a folder around the workspace or the images: its folders are no classes, and would label every image."""
    root = workspace.manifest.source_root
    inside = {"workspace": workspace.path} | ({} if root is None else {"folder of the images": Path(root)})
    for what, place in inside.items():
        if file.is_dir() and file.resolve() in place.resolve().parents:
            raise InputDataError(
                f"{file} holds the {what} {place}: its folders are no classes. Expected a folder with one folder for "
                "each class, or a file."
            )


def remove_annotations(path: Path, wanted: str, *, dry_run: bool = False) -> Report:
    """Take annotations out of the workspace.

    Parameters
    ----------
    path : Path
        The workspace.
    wanted : str
        A file that lists images, in any form that ``--exclude`` reads; or ids, separated by commas.
    dry_run : bool
        Say what would go, and change nothing.

    Returns
    -------
    Report
        How many are removed, and which names are no annotated image.

    Raises
    ------
    InputDataError
        If none of the images is annotated, or the file cannot be read.
    MissingUpstreamError
        If there is no workspace with images.
    """
    with _opened(path, dry_run) as workspace:
        table = _samples(workspace)
        before = kept_annotations(workspace)
        names = _listed(wanted)
        removal = removed(before, names, workspace.manifest.source_root)
        if not removal.gone:
            raise InputDataError(
                f"--remove {wanted}: none of {len(names):,} images is annotated: {some(names)}."
                + (f" Annotated ids look like {next(iter(before.of_image))!r}." if before else " There is none yet.")
            )
        remarks = []
        if removal.unknown:
            remarks.append(f"{len(removal.unknown):,} of {len(names):,} are not annotated: {some(removal.unknown)}")
        counts = {"new": 0, "changed": 0, "same": 0, "removed": len(removal.gone), "unknown": len(removal.unknown)}
        if not dry_run:
            _publish(workspace, removal.after)
        return _report(workspace, table, removal.after, remarks, counts)


def show_annotations(path: Path) -> Report:
    """Return what the workspace holds; nothing is changed.

    Parameters
    ----------
    path : Path
        The workspace, which may be read-only.

    Returns
    -------
    Report
        With no counts but of images that are not in the pool.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace with images.
    """
    workspace = Workspace.open(path)
    return _report(workspace, _samples(workspace), kept_annotations(workspace), [], {})


@contextlib.contextmanager
def _opened(path: Path, dry_run: bool) -> Iterator[Workspace]:
    if dry_run:
        yield Workspace.open(path)
    else:
        with writing(path, create=False) as workspace:
            _finish_killed(workspace)
            yield workspace


def _samples(workspace: Workspace) -> SampleTable:
    if not workspace.has("samples"):
        hint = command_line("embed", None, workspace.path)
        raise MissingUpstreamError(f"{workspace.path} holds no images to annotate yet.", hint=hint)
    return SampleTable.from_tensors(workspace.arrays("samples"))


def _listed(wanted: str) -> list[str]:
    """Return the images that a person names: those of a file, or what was typed."""
    path = Path(wanted)
    if path.is_file():
        if is_document(path):
            with contextlib.suppress(InputDataError):
                return list(dict.fromkeys(answer.image for answer in read_answers(path)))
        return read_ids(path)
    names = [part.strip() for part in wanted.split(",") if part.strip()]
    if not names:
        raise InputDataError("--remove names nothing, expected a file or ids separated by commas.")
    return names


def _publish(workspace: Workspace, after: Annotations) -> None:
    """Write the annotations; a workspace without any is as if there had never been one."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    times = dict(workspace.manifest.runs.get(RECORD, {}).get("batches", {}))
    if not after:
        workspace.remove(RECORD)
        return
    data = after.to_bytes()
    draft = open_draft(workspace, RECORD, digest_json([data.decode("utf-8", "surrogateescape")]))
    draft.save_bytes(ARTIFACT, FILE, data)
    facts = after.facts()
    headline = f"{len(after):,} images, {len(facts['classes']):,} classes"
    batches = {str(number): times.get(str(number), now) for number in range(1, after.last_batch + 1)}
    draft.commit(
        RECORD,
        stage=RECORD,
        config={},
        inputs={},
        seed=None,
        smoke=False,
        summary=facts | {"headline": headline},
        metadata={ARTIFACT: {"classes": list(after.names)}},
        run={"started": now, "seconds": 0.0, "host": platform.node(), "device": "cpu", "batches": batches},
    )


def _finish_killed(workspace: Workspace) -> None:
    """Publish what a killed call was publishing when the annotations of before were out of the manifest already.

    What it left while they were in there is thrown away: whoever runs the call again writes it anew.
    """
    for directory in sorted((workspace.path / PARTIAL_NAME / RECORD).glob("*")):
        path = directory / "artifacts" / ARTIFACT / FILE
        if not workspace.has(ARTIFACT) and path.is_file():
            with storage_errors("read", path):
                data = path.read_bytes()
            _publish(workspace, Annotations.parse(data))
        else:
            Draft(workspace, RECORD, directory).discard()


def _report(
    workspace: Workspace,
    table: SampleTable,
    after: Annotations,
    remarks: Sequence[str],
    counts: dict[str, int],
    changed: tuple[tuple[str, str, str], ...] = (),
) -> Report:
    said = [*remarks, *alike_remarks(after.names)]
    single = [name for name, count in after.counts().items() if count == 1]
    if single:
        verb = "class has" if len(single) == 1 else "classes have"
        said.append(f"{len(single):,} {verb} one image alone, on which no estimate can rest: {some(single)}")
    if len(after.names) == 1:
        said.append(f"all are of one class, {after.names[0]!r}: nothing can be learned from them yet")
    lost, why = _not_in_pool(table, after)
    if lost:
        verb = "image is" if len(lost) == 1 else "images are"
        said.append(f"{len(lost):,} annotated {verb} kept and not used ({why}): {some(lost)}")
    return Report(after, progress_of(workspace, after), said, counts | {"not_in_pool": len(lost)}, changed)


def _not_in_pool(table: SampleTable, after: Annotations) -> tuple[list[str], str]:
    """Return the annotated images that cannot be selected, and how many of them for which reason."""
    images = list(after.of_image)
    rows = table.names.find(TextColumn.from_strings(images))
    usable, eligible = table.usable(), table.eligible()
    lost, reasons = [], Counter[str]()
    for image, row in zip(images, rows.tolist(), strict=True):
        if row >= 0 and eligible[row]:
            continue
        lost.append(image)
        reasons["not in the workspace" if row < 0 else "of the test split" if usable[row] else "unreadable"] += 1
    return lost, ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))


def _why(remarks: Sequence[str]) -> str:
    return f": {'; '.join(remarks)}" if remarks else ""
