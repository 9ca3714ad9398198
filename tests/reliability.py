"""The matrix of faults with the tests of each row: ``python -m tests.reliability`` writes ``docs/reliability.md``."""

import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "reliability.md"

ROWS = {
    1: "embed is killed or interrupted at any moment",
    2: "cluster is killed or interrupted",
    3: "label is killed or interrupted",
    4: "dynamics are killed or interrupted",
    5: "score is killed or interrupted",
    6: "select is killed or interrupted",
    7: "SIGINT and SIGTERM, once and twice",
    8: "the disk is full in the middle",
    9: "a read, a write, a rename or a sync fails",
    10: "two processes write to one workspace",
    11: "the lock of a process that is dead",
    12: "a reader while a writer publishes",
    13: "an artifact that was cut short",
    14: "one flipped bit in data, header or JSON",
    15: "a valid file of another shape, dtype or length in an artifact's place",
    16: "a manifest that is empty, no JSON, huge, nested, or repeats keys",
    17: "a manifest of a newer format",
    18: "paths that lead out of the workspace or an archive",
    19: "pickles in checkpoints",
    20: "hostile safetensors",
    21: "upstream that changed after downstream was made",
    22: "a workspace or a folder of images that was moved",
    23: "a workspace that may not be written",
    24: "a workspace path that is a file, too long or odd",
    25: "an empty folder, or one without images, is refused with the extensions seen",
    26: "damaged images are left out, the others are unaffected",
    27: "empty files, text and web pages under an image's name",
    28: "the content counts, not the extension",
    29: "decompression bombs",
    30: "tiny images and extreme shapes",
    31: "CMYK and YCCK",
    32: "16-bit and floating-point images",
    33: "transparency",
    34: "gray and 1-bit",
    35: "several frames or pages",
    36: "EXIF orientation",
    37: "formats without a decoder",
    38: "a decoder that crashes or hangs",
    39: "all images broken, or too many",
    40: "links, loops, pipes, sockets",
    41: "names of all kinds",
    42: "equal names in two folders, names equal but for the case",
    43: "the same file listed twice",
    44: "files deleted, changed or added",
    45: "permission denied, stale handles of network file systems",
    46: "fewer images than neighbours or clusters",
    47: "one cluster, identical images, collapsed heads",
    48: "budgets and settings that are none",
    49: "hard rate and budget that do not fit together",
    50: "equal scores, scores that are not finite",
    51: "own embeddings that are not finite, or of another number, kind or order",
    52: "unknown keys, options and models",
    53: "devices that are not there",
    54: "a device out of memory",
    55: "a rank that dies or hangs, a host or a cable that is gone",
    56: "limits of memory, of shared memory and of open files",
    57: "no network, damaged downloads",
    58: "closed streams, no terminal, another locale or clock",
}
"""Number of each row to what happens."""

OPEN: dict[int, str] = {}
"""Rows without a test of their own, and why."""

_TEST = re.compile(r"^ *def (test_row_(\d+)_\w+)\(", re.MULTILINE)


def named_tests() -> dict[int, list[str]]:
    """Return the names of the tests of each row, sorted, with the files in which they are."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, row in _TEST.findall(path.read_text(encoding="utf-8")):
            found[int(row)].append(f"`{path.relative_to(TESTS.parent).as_posix()}::{name}`")
    return found


def document() -> str:
    """Return ``docs/reliability.md``."""
    found = named_tests()
    lines = [
        "# What must not break elfs, and the test of each",
        "",
        "Written by `python -m tests.reliability`; a test holds it to the tests that there are. All of them run by",
        "default; `python -m pytest -k test_row_14` runs those of a row.",
        "",
        "- Every tensor of every artifact, a flipped value each, times every command that reads it:",
        "  `tests/pipeline/test_damage.py`; one flipped bit in each tensor and text of a workspace in which every",
        "  command has been run, times every command: `tests/cli/test_flipped_values.py`.",
        "- Parsers of all that comes in (manifests, journals, tensors, lists, tables, settings, arrays, annotations",
        "  of every tool, tar shards, Parquet) are fuzzed with 120 examples each in the default run;",
        "  `FUZZ_EXAMPLES=20000 python -m pytest tests/test_fuzz.py` looks for longer, with other examples each time.",
        "- Every file operation of a commit fails, or is the last one before a kill: `tests/workspace/test_crash.py`;",
        "  and every one of each command: `tests/cli/test_interrupted_commands.py`. The default run takes one in 101",
        "  of these and of the flips; `FAULT_STRIDE=1 python -m pytest -n 0 -s --timeout 3600 FILE` takes all.",
        "- Walks that were run whole: 1,200 flips, 314 refused (one of them without a command, which was mended), 1",
        "  told by a warning, 885 without a difference. Failures and deaths, none wrong: embed 220, cluster 204,",
        "  label 136, dynamics 292, score 108, select 120, annotate 104, export 44, report 10, doubtful 10, predict",
        "  10, compare 98, train 186, plan 106. Two hosts: 6 of 6 breaks, and a slow cable. 28 of 28 Ctrl-C at random",
        "  moments of `elfs run` ended with exit code 130.",
        "- By throw-away code: 299 random damages of any file of that workspace (flipped, cut, lengthened, zeroed,",
        "  swapped, a folder or nothing in its place) times a random command: 80 refused with exit 5, 1 with exit 7,",
        "  2 told by `status`, 216 without a difference. 980 tar shards, a block of each cut, zeroed, dropped,",
        "  doubled or swapped: 461 refused or told, 514 the same, 5 held another whole image.",
        "- `FUZZ_EXAMPLES=7000 python -m pytest -n 0 --timeout 3600 tests/test_fuzz.py",
        "  tests/data_package/test_fuzzed_pictures.py` takes twelve minutes: 280,000 inputs, one fault, an archive of",
        "  arrays that is damaged and stayed open, which was mended; then 144,000 more of pictures, tar shards and",
        "  arrays without one. Shorter runs of arrays, settings, devices and counts had found a count with a control",
        "  character behind it, mended before.",
        "- Inputs made by hand, each with the command that reads it, by throw-away code: 76 tar files (6 ended with a",
        "  traceback, 4 were listed wrongly: negative sizes, a NUL in a name, a long header), 76 lists of files, 49",
        "  lists and tables of ids, 67 files of labels (NaN became a class), 131 Parquet files, 82 .npy files and 42",
        "  .safetensors (one of each used in silence, now refused), 23 lists for --ids (a NUL was let in), 22",
        "  manifests and 260 with one value changed times three commands (what is no file counted as no workspace),",
        "  22 journals, 32 elfs.toml, 62 names through the whole chain (5 cells of CSV were formulas), 370 contents",
        "  under other extensions, 53 commands without permission, 52 sources (an empty one was the current folder),",
        "  29 checkpoints (one ended with a traceback), 11 folders of datasets, 46 options (a long name ended with a",
        "  traceback), 82 environments, a folder of 20 links, devices and pipes (one ended with a traceback). All",
        "  mended; the others: the right value, or a message and the exit code that is documented.",
        "- Damaged pictures that were used with other pixels, by throw-away code: stretches of 1 to 1,024 bytes",
        "  anywhere among the packed pixels zeroed, filled with 255 or noise, lost, or overwritten with others of the",
        "  file. JPEG 1,759 of 10,154 (3,366 before they were held against their ends), WebP 1,248 of 13,552 (6,662),",
        "  AVIF 673 of 10,773 (5,105), TIFF: PackBits 688 of 4,149 (1,976), fax codes of group 3 202 of 1,329 (825);",
        "  with flipped bits and bytes and NULs to the end as well: deflate 0 of 3,785 (326), LZMA 0 of 2,733 (35),",
        "  LZW 310 of 3,791 (686), fax codes of group 4 6 of 565 (534), run lengths 18 of 95 (84), Zstandard 1,178 of",
        "  2,727, group 3 536 of 958, PackBits 896 of 2,249, JPEG in TIFF 225 of 575; JPEG 2000 half (69 %). More",
        "  than half of the rest are of 1 to 16 bytes. Whole ones that were refused, of six encoders: 0 of 11,424",
        "  JPEG, 3,726 WebP, 1,885 AVIF, 1,404 JPEG 2000, 12,760 TIFF; 11,700 TIFF of five encoders have the pixels",
        "  that tifffile, libvips or libtiff's own tools put in or read.",
        "- What nothing in a format tells apart is used: values inside a run of PackBits; one bit of a JPEG whose",
        "  codes fall in step again after as many pixels; overwritten bits of one block of a JPEG 2000; all but the",
        "  last tile of an AVIF that has several (251 of 719; of grids, where each tile has an end, 7 of 288); fax",
        "  codes of a row of group 3, and codes of LZW in TIFF that are of as many bytes; bytes that Zstandard or",
        "  LZMA in TIFF left as they were, since libtiff writes these without checksums; pixels that are not packed",
        "  (BMP, PPM, TIFF). Arithmetic-coded JPEG: what ends too late.",
        "- HEIC, where its plugin is installed (its decoder never complains): of damaged ones 28 of 935 are used",
        "  whose sides are multiples of 64, as the tiles of phones are, 17 of 120 grids of tiles (117 before) and 442",
        "  of 1,119 of other sizes (736), since their last bytes may belong to pixels that nobody sees; 1,350 whole",
        "  ones are read. It takes three to four times as long as decoding alone (0.55 for 0.13 s of 3 million",
        "  pixels). JPEG XL by its plugin ends its codes with a check: 2 of 398 damaged ones are used. GIF: holes of",
        "  24 bytes among the codes 2 of 360, single bits half.",
        "",
        "| row | what happens | tests |",
        "|---|---|---|",
    ]
    for row, what in ROWS.items():
        tests = "<br>".join(found.get(row, [])) or f"none of its own: {OPEN[row]}"
        lines.append(f"| {row} | {what} | {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
