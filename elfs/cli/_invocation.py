"""One call of a command: what its shared options say, and the configs and the runtime that follow from them."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.cli._output import Output
from elfs.cli._ranks import join_ranks, own_place, start_ranks
from elfs.cli._settings import Settings, load_settings, parse_count, resolve
from elfs.config import CONFIGS, StageConfig
from elfs.config.options import OptionError
from elfs.errors import UsageError
from elfs.parallel.devices import parse_devices

if TYPE_CHECKING:
    from elfs.parallel.runtime import Runtime

__all__ = ["DEFAULT_TIMEOUT_S", "Invocation"]

DEFAULT_TIMEOUT_S = 600
"""For how long a rank may be silent, in seconds, where nobody says otherwise."""


@dataclass(frozen=True)
class Invocation:
    """One call of a command: its shared options, its stage options and where it prints.

    Attributes
    ----------
    shared : Mapping
        Shared option to value.
    flags : Mapping
        Stage to field to parsed value, only what a flag or a variable gave.
    spellings : Mapping
        Stage to field to the option as it is written.
    """

    shared: Mapping[str, Any]
    flags: Mapping[str, Mapping[str, Any]]
    spellings: Mapping[str, Mapping[str, str]]

    @property
    def workspace(self) -> Path:
        """The workspace's folder, which need not exist."""
        return Path(self.shared["workspace"])

    @property
    def force(self) -> bool:
        """Whether ``--force`` was given."""
        return bool(self.shared["force"])

    @property
    def dry_run(self) -> bool:
        """Whether ``--dry-run`` was given."""
        return bool(self.shared["dry_run"])

    @property
    def smoke(self) -> bool:
        """Whether ``--smoke`` was given."""
        return bool(self.shared["smoke"])

    def as_written(self, stage: str, text: str) -> str:
        """Return a sentence about a stage with its options as this command writes them.

        Parameters
        ----------
        stage : str
            Its name.
        text : str
            Names options as the stage's own command does; those behind ``elfs STAGE`` stay so.

        Returns
        -------
        str
            Such as ``--dynamics-epochs`` for ``--epochs``, where all stages are called.
        """
        written = self.spellings.get(stage, {})

        def option(found: re.Match[str]) -> str:
            spelling = written.get(found[2].replace("-", "_"), "/")
            return found[0] if found[1] or "/" in spelling else spelling

        return re.sub(r"(elfs \w+ )?--([a-z][a-z-]*[a-z])", option, text)

    @cached_property
    def output(self) -> Output:
        """Where the command says what happened."""
        place = own_place()
        rank = 0 if place is None else place.rank
        return Output(as_json=self.shared.get("json", False), quiet=self.shared.get("quiet", False), rank=rank)

    @cached_property
    def profiles(self) -> list[Path]:
        """The tables that ``--profile`` has written so far."""
        return []

    @cached_property
    def settings(self) -> Settings:
        """What ``elfs.toml`` says."""
        return load_settings(self.workspace)

    @property
    def seed(self) -> int | None:
        """The seed of the flag or the file; None where neither gives one."""
        given = parse_count("--seed", self.shared.get("seed"))
        return self.settings.seed if given is None else given

    def config(self, stage: str, *, base: StageConfig | None = None, **internal: Any) -> StageConfig:
        """Return the config of a stage.

        Parameters
        ----------
        stage : str
            A key of ``CONFIGS``.
        base : StageConfig or None
            What applies where nothing else speaks; None for the dataclass defaults.
        **internal : Any
            Fields that are no options.

        Returns
        -------
        StageConfig
            A checked config.

        Raises
        ------
        UsageError
            If a value is out of its range; the message names the option as it is written.
        """
        flags = dict(self.flags.get(stage, {})) | internal
        if self.seed is not None and any(item.name == "seed" for item in dataclasses.fields(CONFIGS[stage])):
            flags["seed"] = self.seed
        try:
            return resolve(stage, flags, self.settings, smoke=self.smoke, base=base)
        except OptionError as error:
            spelling = self.spellings.get(stage, {}).get(error.field)
            raise error if spelling is None else error.spelled(spelling) from None

    @property
    def devices(self) -> str:
        """Where to compute, as flags, variables and ``elfs.toml`` say."""
        return self.shared["devices"] or self.settings.devices or "auto"

    @property
    def is_plain(self) -> bool:
        """Whether one process runs the command, where it likes to: nothing about devices can be wrong."""
        return own_place() is None and self.devices in ("auto", "cpu")

    def runtime(self, *, parallel: bool = False) -> "Runtime":
        """Return where and how stages run.

        Parameters
        ----------
        parallel : bool
            Whether the command can use several devices. If so, and several are named, this starts a process for each,
            waits for them and does not return.

        Returns
        -------
        Runtime
            Devices, ranks and workers as flags, variables and ``elfs.toml`` say.
        """
        choice = parse_devices(self.devices)  # refused, if it makes no sense, before anything is loaded
        workers = self.shared.get("workers")
        num_workers = parse_count("--workers", self.settings.workers if workers is None else workers)
        given = self.shared.get("rank_timeout")
        timeout_s = parse_count("--rank-timeout", self.settings.rank_timeout if given is None else given)
        if timeout_s == 0:
            raise UsageError("--rank-timeout is 0, expected a whole number of at least 1.")
        if parallel and own_place() is None and len(choice.names()) > 1:
            raise SystemExit(start_ranks(len(choice.names()), self.output))
        from elfs.parallel.allocator import keep_freed_memory
        from elfs.parallel.ranks import ALONE
        from elfs.parallel.runtime import Runtime

        keep_freed_memory()
        progress, folder = self.output.progress(), self.shared.get("profile")
        if folder is not None and self.output.rank == 0:
            from elfs.parallel.profiling import ProfiledProgress
            from elfs.workspace.files import make_directory

            make_directory(folder)
            progress = ProfiledProgress(progress, folder, self._profiled)
        is_plan = self.shared.get("dry_run", False)  # of the first rank alone: there is nobody to meet
        return Runtime(
            devices=self.devices,
            ranks=ALONE if is_plan else join_ranks(self.devices, timeout_s or DEFAULT_TIMEOUT_S),
            num_workers=num_workers,
            progress=progress,
            warn=self._warn,
            note=self.output.note,
        )

    def _profiled(self, path: Path) -> None:
        self.profiles.append(path)
        self.output.note(f"{'profile':<10} {path}")

    def end(self) -> None:
        """Say so where ``--profile`` was given and there was nothing to write."""
        if self.shared.get("profile") is not None and not self.profiles and not self.shared.get("dry_run", False):
            self.output.note(f"{'profile':<10} nothing written: no loop took more than three steps")

    def _warn(self, text: str) -> None:
        """Pass on what a stage warns of, also where another rank than the first has noticed it."""
        rank = self.output.rank
        if rank == 0:
            self.output.warn(text)
        else:
            Output(quiet=self.output.quiet).warn(f"rank {rank}: {text}")
