from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.ranks import save_at_every_chance


@dataclass
class Watcher:
    """A task that counts, and calls `then` with the count after every step."""

    then: Callable[[int], None] = lambda count: None
    count: int = 0
    steps: list[int] = field(default_factory=list)

    def advance(self, count: int = 1, note: str = "") -> None:
        self.count += count
        self.steps.append(count)
        self.then(self.count)

    def resume(self, count: int, note: str = "") -> None:
        self.advance(count, note)


@pytest.fixture
def watcher() -> type[Watcher]:
    return Watcher


@pytest.fixture
def stop_after() -> Callable[[int], Watcher]:
    """Return a task that acts like Ctrl-C after so many steps."""

    def stopping(steps: int) -> Watcher:
        def then(count: int) -> None:
            if count >= steps:
                raise KeyboardInterrupt

        return Watcher(then)

    return stopping


@pytest.fixture
def saved_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    save_at_every_chance(monkeypatch)
