"""Whether a record still follows from its inputs, decided from the manifest alone."""

from elfs.workspace.manifest import EXTERNAL, Manifest

__all__ = ["stale_reason"]


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
        A clause for people, such as "embeddings were rebuilt after it (embed)"; None if the record is fresh.
    """
    return _stale_reason(manifest, record, set())


def _stale_reason(manifest: Manifest, record: str, seen: set[str]) -> str | None:
    """Check the inputs of `record` themselves first, then what they were made from; each record once."""
    seen.add(record)
    artifacts = manifest.artifacts
    inputs = {name: digest for name, digest in manifest.records[record].inputs.items() if not name.startswith(EXTERNAL)}
    for name, digest in sorted(inputs.items()):
        verb = "were" if name.endswith("s") and "/" not in name else "was"
        if name not in artifacts:
            return f"{name} {verb} removed after it"
        if artifacts[name].digest != digest:
            return f"{name} {verb} rebuilt after it ({artifacts[name].record})"
    for name in sorted(inputs):
        maker = artifacts[name].record
        reason = None if maker in seen else _stale_reason(manifest, maker, seen)
        if reason is not None:
            return f"{name} ({maker}) must be rebuilt first: {reason}"
    return None
