"""How features are best scaled for a linear classifier of few annotations.

    python benchmarks/feature_scaling.py WORKSPACE [WORKSPACE ...]

Of each workspace whose true classes are known (a source that has them, or folders), 50, 100 and 300 random images are
annotated, three draws each; the classifier behind `label` and `auto` learns from them, regularised by cross-validation,
and names the rest of the pool. Prints a Markdown table of right names in percent, means over the draws.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elfs.data.samples import SampleTable
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.ops.linear_classifier import cross_validated, fit_linear_classifier
from elfs.pipeline.source_facts import SourceFacts
from elfs.source_names import has_root
from elfs.train.annotated import annotated_folds
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace

COUNTS = (50, 100, 300)
DRAWS = 3


def centred(features_ND: Tensor) -> Tensor:
    """Return features of mean 0, each as large beside the others as it was, with a mean variance of 1."""
    features_ND = features_ND - features_ND.mean(dim=0)
    return features_ND / features_ND.square().mean().sqrt().clamp_min(1e-9)


def standardized(features_ND: Tensor) -> Tensor:
    """Return features of mean 0 and deviation 1 each."""
    return (features_ND - features_ND.mean(dim=0)) / features_ND.std(dim=0).clamp_min(1e-6)


def unit_length(features_ND: Tensor) -> Tensor:
    """Return rows of length 1, centred."""
    return centred(torch.nn.functional.normalize(features_ND, dim=1))


SCALINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "centred": centred,
    "deviation 1": standardized,
    "length 1": unit_length,
}


def right_share(features_ND: Tensor, classes_N: Tensor, count: int, draw: int) -> float:
    """Return the share of the images that are not annotated which get their class."""
    order = torch.randperm(len(features_ND), generator=torch.Generator().manual_seed(draw))
    known, others = order[:count], order[count:]
    names, classes = torch.unique(classes_N[known], return_inverse=True)
    folds = annotated_folds(classes, None, generator(draw, "folds"))
    checked = cross_validated(features_ND[known], classes, len(names), folds)
    classifier = fit_linear_classifier(
        features_ND[known], classes, len(names), penalty=checked.penalty, temperature=checked.temperature
    )
    predicted = names[classifier.probabilities(features_ND[others]).argmax(dim=1)]
    return float((predicted == classes_N[others]).double().mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspaces", nargs="+", type=Path)
    print(f"| workspace | annotations | {' | '.join(SCALINGS)} |\n|---|---:|{'---:|' * len(SCALINGS)}")
    for path in parser.parse_args().workspaces:
        workspace = Workspace.open(path)
        table = SampleTable.from_tensors(workspace.arrays("samples"))
        truth = true_labels(
            workspace, table, FOLDERS if has_root(workspace.metadata("samples", SourceFacts).source) else None
        )
        rows = np.flatnonzero(table.eligible())
        classes_N = torch.from_numpy(truth.values[rows]).long()
        features_ND = torch.from_numpy(workspace.arrays("embeddings")["embeddings"][rows].astype(np.float32))
        for count in COUNTS:
            cells = []
            for scale in SCALINGS.values():
                found = [right_share(scale(features_ND), classes_N, count, draw) for draw in range(DRAWS)]
                cells.append(f"{100 * statistics.fmean(found):.1f}")
            print(f"| {path.name} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
