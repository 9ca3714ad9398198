"""Pick which of your unlabelled images to annotate: label-free coreset selection (ELFS).

On arrays: `select`, `scores`. On a workspace: `embed`, `cluster`, `label`, `dynamics`, `score`, `run`,
`open_workspace`.
What each name means is imported when it is first asked for, so that ``import elfs`` costs nothing.
"""

from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "select": "arrays",
    "scores": "arrays",
    "embed": "verbs",
    "cluster": "verbs",
    "label": "verbs",
    "dynamics": "verbs",
    "score": "verbs",
    "run": "verbs",
    "open_workspace": "workspace",
}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Return a name of ``__all__``."""
    if name not in _PLACES:
        raise AttributeError(f"module 'elfs' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"elfs.api.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
