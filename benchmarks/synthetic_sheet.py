"""A contact sheet of a synthetic pool: what its classes, styles and special images look like.

    python benchmarks/synthetic_sheet.py synthetic:longtail docs/synthetic.png

One row for each of the first ten classes with test images in order of style; then five rows of training images:
redundant ones after their base, ambiguous ones, outliers, duplicates and near duplicates after what they copy.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.samples import Split
from elfs.data.sources.synthetic import SyntheticReader, SyntheticSource
from elfs.data.synthetic.spec import parse_source
from elfs.evaluation.synthetic import Kind, SyntheticKinds, synthetic_classes, synthetic_kinds

COLUMNS, ZOOM, COLORS = 16, 3, 200


def rows_of_kind(found: SyntheticKinds, kind: Kind) -> list[int]:
    """Return rows that show a kind: bases and their variants together, copies behind their originals."""
    rows = np.flatnonzero(found.kinds == kind)
    if not len(rows) or kind in (Kind.AMBIGUOUS, Kind.OUTLIER):
        return rows.tolist()
    if kind == Kind.REDUNDANT:
        bases = np.unique(found.origins[rows])[: COLUMNS // 8]
        groups = [[base, *rows[found.origins[rows] == base][:7]] for base in bases.tolist()]
        return [int(row) for group in groups for row in group]
    return [int(row) for copy in rows[: COLUMNS // 2] for row in (found.origins[copy], copy)]


def strip(reader: SyntheticReader, rows: list[int], size: int) -> NDArray[np.uint8]:
    """Return images side by side, a white line after each; white where there are too few."""
    canvas = np.full((size + 1, COLUMNS * (size + 1), 3), 255, np.uint8)
    for column, row in enumerate(rows[:COLUMNS]):
        canvas[:size, column * (size + 1) : column * (size + 1) + size] = np.asarray(reader.read(row))
    return canvas


def sheet(name: str) -> Image.Image:
    """Return the contact sheet of a pool."""
    source = SyntheticSource(parse_source(name))
    table = source.list()
    reader, found = source.reader(table), synthetic_kinds(name, table)
    classes, test = synthetic_classes(name)[1], table.rows(Split.TEST)
    lines = []
    for number in range(min(10, source.num_classes)):
        rows = test[classes[test] == number]
        rows = rows[np.argsort(found.styles[rows], kind="stable")]
        chosen = np.linspace(0, len(rows) - 1, min(COLUMNS, len(rows))).round().astype(int)
        lines.append(rows[chosen].tolist())
    lines += [rows_of_kind(found, kind) for kind in Kind if kind != Kind.PLAIN]
    pixels = np.concatenate([strip(reader, line, source.spec.size) for line in lines if line])
    return Image.fromarray(pixels.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="synthetic:SPEC")
    parser.add_argument("file", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    sheet(arguments.source).quantize(COLORS, dither=Image.Dither.NONE).save(arguments.file, optimize=True)


if __name__ == "__main__":
    main()
