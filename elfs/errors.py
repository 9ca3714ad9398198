"""Every error that elfs raises on purpose.

The message says what is wrong, the value seen and what was expected; ``hint`` is the next command to type. Each
family has one exit code, listed here and in ``docs/cli.md``::

    ElfsError
    |-- UsageError             (ValueError)         2  an option's value, a name that does not exist
    |-- InputDataError         (ValueError)         3  images, embeddings or labels that cannot be used
    |-- MissingUpstreamError   (FileNotFoundError)  4  a stage needs an artifact that nobody has made yet
    |-- StaleUpstreamError     (ValueError)         4  a stage needs an artifact whose own inputs have changed
    |-- CorruptArtifactError   (ValueError)         5  a file of the workspace is not what the manifest says
    |-- WorkspaceLockedError   (RuntimeError)       6  another process writes to the workspace
    |-- StorageError           (OSError)            7  disk full, no permission
    `-- DeviceError            (RuntimeError)       8  a device that does not exist, or out of its memory
        `-- RankLostError      (RuntimeError)       8  another process of the same command is gone

Exit code 1 is a bug in elfs, with its traceback; 130 and 143 are the signals SIGINT and SIGTERM.
"""

__all__ = [
    "ElfsError",
    "UsageError",
    "InputDataError",
    "MissingUpstreamError",
    "StaleUpstreamError",
    "CorruptArtifactError",
    "WorkspaceLockedError",
    "StorageError",
    "DeviceError",
    "RankLostError",
]


class ElfsError(Exception):
    """Root of all errors that a user can mend.

    Parameters
    ----------
    message : str
        What is wrong, the value seen, what was expected. No trailing newline.
    hint : str, optional
        A command to type next, or several joined by ``&&``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(ElfsError, ValueError):
    """An option has a value that it cannot take."""

    exit_code = 2


class InputDataError(ElfsError, ValueError):
    """Images, embeddings or labels that cannot be used."""

    exit_code = 3


class MissingUpstreamError(ElfsError, FileNotFoundError):
    """An artifact that a stage needs has not been made yet."""

    exit_code = 4


class StaleUpstreamError(ElfsError, ValueError):
    """An artifact that a stage needs was made from inputs that have changed since."""

    exit_code = 4


class CorruptArtifactError(ElfsError, ValueError):
    """A file of the workspace is not what its manifest says, or has a format that this version cannot read."""

    exit_code = 5


class WorkspaceLockedError(ElfsError, RuntimeError):
    """Another process is writing to the workspace."""

    exit_code = 6


class StorageError(ElfsError, OSError):
    """The disk is full, or a file may not be read or written."""

    exit_code = 7


class DeviceError(ElfsError, RuntimeError):
    """A device that does not exist, or that ran out of memory."""

    exit_code = 8


class RankLostError(DeviceError):
    """Another of the processes that run one command together is gone; its own error says why."""
