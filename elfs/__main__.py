"""``elfs`` and ``python -m elfs``: Ctrl-C ends the program at once while its code is still being read."""

import os
import signal
from types import FrameType
from typing import NoReturn

__all__ = ["main"]


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End without a word: nothing has begun."""
    os._exit(128 + number)


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    interrupts = signal.getsignal(signal.SIGINT)
    if interrupts is signal.default_int_handler:  # a job in the background of a script ignores it, and goes on doing so
        signal.signal(signal.SIGINT, _leave)
    from elfs.cli.app import main as run

    if interrupts is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
