"""Whether a record still follows from its inputs, decided from the manifest alone."""

from elfs.workspace.manifest import EXTERNAL, Manifest

__all__ = ["annotated_since", "changed_inputs", "stale_reason"]

_LASTING = ("select", "annotate", "groups")
"""Stages whose records are never stale: a list of ids that may be with annotators, and what people have said."""

_ANNOTATIONS = "annotations"

_READS_THEM = ("label",)
"""Stages whose records are stale if they were made before there were annotations."""


def stale_reason(manifest: Manifest, record: str) -> str | None:
    """Return why a record no longer follows from its inputs.

    Parameters
    ----------
    manifest : Manifest
        What the workspace holds.
    record : str
        Name of a record in it.

    Returns
    -------
    str or None
        A clause for people, such as "embeddings were rebuilt after it (embed)"; None if the record is fresh, as every
        selection is.
    """
    found = _staleness(manifest, record, set())
    if found is None:
        return None
    first, reason = found
    return reason if first is None else f"{first} must be rebuilt first: {reason}"


def changed_inputs(manifest: Manifest, record: str) -> list[str]:
    """Return what a record was made from and is no longer so.

    Parameters
    ----------
    manifest : Manifest
        What the workspace holds.
    record : str
        Name of a record in it.

    Returns
    -------
    list of str
        Artifacts that are gone, were rebuilt, or are stale themselves, sorted.
    """
    artifacts = manifest.artifacts
    return [
        name
        for name, digest in _inputs(manifest, record)
        if name not in artifacts
        or artifacts[name].digest != digest
        or stale_reason(manifest, artifacts[name].record) is not None
    ]


def annotated_since(manifest: Manifest, record: str) -> bool:
    """Return whether people have said something since a record was made, or taken something back.

    Parameters
    ----------
    manifest : Manifest
        What the workspace holds.
    record : str
        Name of a record in it, of a stage that reads annotations where there are any.

    Returns
    -------
    bool
        True where it read others than there are now.
    """
    now = manifest.artifacts.get(_ANNOTATIONS)
    return manifest.records[record].inputs.get(_ANNOTATIONS) != (None if now is None else now.digest)


def _inputs(manifest: Manifest, record: str) -> list[tuple[str, str]]:
    """Return the artifacts that a record read, with the digests that they had, by name."""
    return sorted(item for item in manifest.records[record].inputs.items() if not item[0].startswith(EXTERNAL))


def _staleness(manifest: Manifest, record: str, seen: set[str]) -> tuple[str | None, str] | None:
    """Return what is stale above `record`, None if that is the record itself, and why; each record is checked once.

    Its own inputs come first, then what they were made from.
    """
    seen.add(record)
    artifacts = manifest.artifacts
    stage = manifest.records[record].stage
    if stage in _LASTING:
        return None
    inputs = _inputs(manifest, record)
    if stage in _READS_THEM and _ANNOTATIONS in artifacts and _ANNOTATIONS not in manifest.records[record].inputs:
        return None, f"{_ANNOTATIONS} were added after it ({artifacts[_ANNOTATIONS].record})"
    for name, digest in inputs:
        verb = "were" if name.endswith("s") and "/" not in name else "was"
        if name not in artifacts:
            return None, f"{name} {verb} removed after it"
        if artifacts[name].digest != digest:
            return None, f"{name} {verb} rebuilt after it ({artifacts[name].record})"
    for name, _ in inputs:
        maker = artifacts[name].record
        found = None if maker in seen else _staleness(manifest, maker, seen)
        if found is not None:
            first, reason = found
            return first or f"{name} ({maker})", reason
    return None
