"""Which encoders there are. Imports timm only where none of elfs' own names is meant, and torch with it."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from elfs.catalog import ENCODERS
from elfs.errors import UsageError
from elfs.models.published import PUBLISHED
from elfs.suggestions import suggestion

__all__ = ["ListedEncoder", "list_encoders"]


@dataclass(frozen=True, slots=True)
class ListedEncoder:
    """What there is to know of an encoder without building it.

    Attributes
    ----------
    name : str
        What ``--encoder`` takes.
    dimensions : int or None
        Width of its embeddings; None where it depends on the images, or timm does not say.
    input_size : int or None
        Side of the images that it sees, in pixels; None where it depends on them.
    source : str or None
        Where its weights are published: a repository on the Hugging Face hub or an address; None where it has none.
    licence : str
        Of the weights; ``unknown`` where their publisher does not state one.
    """

    name: str
    dimensions: int | None
    input_size: int | None
    source: str | None
    licence: str


def list_encoders(pattern: str | None) -> list[ListedEncoder]:
    """Return the encoders whose names match.

    Parameters
    ----------
    pattern : str or None
        Part of a name, or a pattern with ``*`` and ``?`` for all of it; None for all of elfs' own.

    Returns
    -------
    list of ListedEncoder
        Those of elfs' own table; if there are none, timm's models with published weights.

    Raises
    ------
    UsageError
        If nothing matches.
    """
    wanted = pattern or "*"
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    found = [item for item in _own() if fnmatchcase(item.name.lower(), wanted.lower())]
    if found:
        return found
    found = _timm(wanted.removeprefix("timm_"))
    if not found:
        raise UsageError(
            f"no encoder matches '{pattern}', neither here nor in timm.{suggestion(str(pattern), _names())}",
            hint="elfs embed --list-encoders",
        )
    return found


def _names() -> list[str]:
    return [*ENCODERS, *PUBLISHED]


def _own() -> list[ListedEncoder]:
    bare = [ListedEncoder(name, None, None, None, "none needed") for name in ENCODERS]
    return bare + [
        ListedEncoder(name, entry.dim, entry.input_size, entry.source, entry.licence)
        for name, entry in PUBLISHED.items()
    ]


def _timm(wanted: str) -> list[ListedEncoder]:
    import timm

    configs = {name: timm.get_pretrained_cfg(name) for name in timm.list_pretrained(wanted)}
    return [
        ListedEncoder(
            name, None, config.input_size[-1], config.hf_hub_id or config.url or None, config.license or "unknown"
        )
        for name, config in configs.items()
    ]
