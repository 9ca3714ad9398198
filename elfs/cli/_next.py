"""What a person may want to type next, by what a workspace holds."""

from pathlib import Path

from elfs.cli._commands import next_commands
from elfs.config import DEFAULT_WORKSPACE
from elfs.errors import CorruptArtifactError, MissingUpstreamError
from elfs.pipeline.source_facts import SourceFacts
from elfs.pipeline.status import default_selection
from elfs.source_names import DATASETS, SYNTHETIC_PREFIX
from elfs.workspace.manifest import open_manifest

__all__ = ["commands_after"]


def commands_after(stage: str, record: str, workspace: Path) -> list[str]:
    """Return what a person may want to type after a stage; ``train`` where the source comes with true labels.

    Parameters
    ----------
    stage, record : str
        The stage that is done, and the name of its record.
    workspace : Path
        Where it wrote; labels count as there where it cannot be read.

    Returns
    -------
    list of str
        Commands that work as they stand.
    """
    try:
        manifest = open_manifest(workspace)
        samples = manifest.artifacts.get("samples")
        source = "" if samples is None else SourceFacts.of(samples.metadata).source
    except (MissingUpstreamError, CorruptArtifactError):  # the command is done, whatever is wrong with other records
        return next_commands(stage, record, workspace, DEFAULT_WORKSPACE)
    is_test_set = record in manifest.records and manifest.records[record].config.get("holdout") is not None
    labelled = (source in DATASETS or source.startswith(SYNTHETIC_PREFIX)) and not is_test_set
    is_default = record == f"select/{default_selection(manifest)}"
    return next_commands(stage, record, workspace, DEFAULT_WORKSPACE, labelled=labelled, is_default=is_default)
