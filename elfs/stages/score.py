"""Training dynamics to difficulty scores."""

import numpy as np
import torch

from elfs.catalog import SCORES
from elfs.config import ScoreConfig
from elfs.ops.scores import compute_scores
from elfs.stages.job import Job, Result
from elfs.workspace.tensors import RowArray

__all__ = ["run"]

_BLOCK_ROWS = 262_144


def run(job: Job, config: ScoreConfig) -> Result:
    """Write ``scores``: one tensor [N] per key, NaN for samples that were not trained on.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : ScoreConfig
        How many epochs the windowed scores look at.

    Returns
    -------
    Result
        The keys and the number of samples that have scores; the metadata states each key's direction.
    """
    traces = job.workspace.tensors("dynamics")
    num_rows = traces["correct"].shape[1]
    num_epochs = traces["correct"].shape[0]
    scores = {key: np.empty(num_rows, dtype=np.float32) for key in SCORES}
    with job.runtime.progress.task("score", num_rows, "images") as task:
        for start in range(0, num_rows, _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, num_rows)
            block = {name: torch.from_numpy(_columns(trace, start, stop)) for name, trace in traces.items()}
            for key, score in compute_scores(block, config.window).items():
                scores[key][start:stop] = score.numpy()
            task.advance(stop - start)
    job.draft.save("scores", scores)
    num_scored = int(np.isfinite(scores["aum"]).sum())
    directions = {key: f"{SCORES[key].harder} = harder" for key in sorted(SCORES)}
    summary = {"keys": sorted(SCORES), "samples": num_scored, "epochs": num_epochs}
    return Result(" ".join(sorted(SCORES)), summary, {"scores": {"directions": directions}})


def _columns(trace: np.ndarray | RowArray, start: int, stop: int) -> np.ndarray:
    """Copy the columns of some samples out of a trace [E, N], epoch by epoch where it is spread over files."""
    if isinstance(trace, np.ndarray):
        return np.array(trace[:, start:stop])
    return np.concatenate([trace.read(epoch, epoch + 1)[:, start:stop] for epoch in range(len(trace))])
