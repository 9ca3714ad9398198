"""A stage called in the process of a person's own Python."""

import warnings
from pathlib import Path

from elfs.config import StageConfig
from elfs.errors import UsageError
from elfs.parallel.devices import parse_devices
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.job import Outcome

__all__ = ["call"]


def call(
    stage: str,
    workspace: Path,
    config: StageConfig,
    *,
    devices: str = "auto",
    force: bool = False,
    source_root: Path | None = None,
) -> Outcome:
    """Call a stage in this process; what it warns of becomes a ``UserWarning``.

    Parameters
    ----------
    stage : str
        Its name.
    workspace : Path
        The workspace.
    config : StageConfig
        Its config.
    devices : str, default "auto"
        One device.
    force : bool, default False
        Run even if everything is fresh.
    source_root : Path or None
        Folder of the images, for embed.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    UsageError
        If several devices are named: they take processes, which the command line starts.
    """
    if len(parse_devices(devices).names()) > 1:
        raise UsageError(f"devices is {devices!r}: from Python one device at a time; several take the command line.")
    runtime = Runtime(devices=devices, warn=lambda text: warnings.warn(text, UserWarning, stacklevel=2))
    return execute(stage, workspace, config, runtime, force=force, source_root=source_root)
