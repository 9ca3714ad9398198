"""The tables of ``docs/scaling.md``, made from the formulas, the measurements and the model."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scaling_costs import ARTIFACTS, MEMORY, Setting, head_values, heads_flops, neighbor_flops
from benchmarks.scaling_model import ASSUMED, STAGES, Hardware, Units, neighbor_passes

__all__ = ["DOCUMENT", "MEASURED", "read_units", "render", "tables"]

MEASURED = Path(__file__).parent / "scaling.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "scaling.md"
SIZES = {"1.3 M": 1.3e6, "10 M": 1e7, "100 M": 1e8, "1 B": 1e9}
RANKS = (1, 8, 16, 32, 64)
HOUR = 3600
SETTING = Setting()


def read_units(found: dict[str, Any]) -> Units:
    """Return the measured costs that the model takes."""
    return Units(
        list_s=found["list_s"],
        decode_s=found["decode_s"],
        augment_s=found["augment_s"],
        score_s=found["score_s"]
        + 2 * SETTING.dims * (SETTING.clusters - 100) / found["matmul_flops"],  # measured: C 100
        select_s=found["select_s"]["elfs"],
        hash_rate=found["hash_rate"],
        write_rate=found["write_rate"],
        start_s=found["start_s"],
        take_rate=found["take_rate"],
        matmul_flops=found["matmul_flops"],
        scan_flops=found["scan_flops"],
    )


def short(value: float) -> str:
    """Return a number with two or three digits that count."""
    if value >= 10 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def amount(num_bytes: float) -> str:
    """Return bytes in the unit that fits, powers of 1,000."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{short(num_bytes / size)} {unit}"
    return f"{short(num_bytes)} bytes" if num_bytes < 1000 else f"{short(num_bytes / 1000)} KB"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def disk_table() -> str:
    """Return what each artifact takes on disk."""
    rows = []
    for item in ARTIFACTS:
        fixed = item.fixed(SETTING)
        once = f"{item.fixed_formula} = {amount(fixed)}" if fixed >= 1000 else amount(fixed) if fixed else ""
        each = item.per_sample(SETTING)
        rows.append([f"`{item.name}`", item.stage, item.formula, f"{each:,.1f}".removesuffix(".0"), once])
    total = sum(item.per_sample(SETTING) for item in ARTIFACTS)
    rows.append(["all", "", "", f"{total:,.0f}", amount(sum(item.fixed(SETTING) for item in ARTIFACTS))])
    return grid(["artifact", "made by", "bytes a sample", "with the defaults", "once"], rows)


def memory_table() -> str:
    """Return what processes hold in memory."""
    return grid(
        ["stage", "in", "host memory, bytes a sample", "GPU memory, bytes a sample"],
        [[stage, item.where, item.host, item.device] for stage, item in MEMORY.items()],
    )


def operations_table() -> str:
    """Return operations and traffic of each stage."""
    s = SETTING
    per_head = heads_flops(s)
    step = 4.0 * s.heads * head_values(s)
    rows = [
        ["embed", "decode once, one forward pass of the encoder", short(s.encoder_flops / 1e9), "0; the image is read"],
        [
            "neighbours, exact",
            "2 D N, and 2 D (K + 17) again in float64, for which K + 17 rows are read one by one",
            f"{short(neighbor_flops(s, 1e6) / 1e9)} x N / 1 M",
            "4 D N (R - 1) / R for each of N / (65,536 R) passes, to the next rank of a ring",
        ],
        [
            "cluster",
            "16 H (W D + B W + C B) an epoch: two views, 3 for the student and 1 for the teacher",
            f"{short(8 * s.heads * per_head / 1e9)} an epoch, {short(8 * s.heads * per_head * 200 / 1e9)} in 200",
            f"a step: 2 (R - 1) / R x {amount(step)}, all parameters of H heads",
        ],
        ["label", "2 (W D + B W + C B)", short(per_head / 1e9), "0"],
        [
            "dynamics",
            "E (decode, 3 forward passes of the proxy)",
            short(3 * s.proxy_flops * s.epochs / 1e9),
            f"a step: 2 (R - 1) / R x {amount(4 * s.proxy_values)}, and {2 * s.proxy_layers} small sums of batch "
            "statistics; 9 E a sample to the first rank",
        ],
        [
            "dynamics, `--network mlp`",
            "6 E x 256 (D + C)",
            short(3 * s.mlp_flops * s.epochs / 1e9),
            f"a step: 2 (R - 1) / R x {amount(4 * s.mlp_values)}; 9 E a sample to the first rank",
        ],
        [
            "score",
            "about 20 E, 2 D C for the k-means centres",
            short(2 * s.dims * s.clusters / 1e9),
            "first rank alone",
        ],
        ["select", "by method, below", "", "first rank alone"],
    ]
    return grid(["stage", "operations a sample", "GFLOP a sample", "network, bytes sent by each rank"], rows)


def units_table(found: dict[str, Any]) -> str:
    """Return what was measured."""
    rows = [
        [f"decode and transform a JPEG of {found['jpeg_bytes'] / 1000:.0f} KB, 224 pixels", ms(found["decode_s"])],
        ["the same with the random crop of the proxy", ms(found["augment_s"])],
        ["`patches` encoder, 32 pixels", ms(found["patches_s"])],
        ["`vit_base_patch16_224`, forward", ms(found["vit_s"])],
        ["`resnet34` at 224 pixels, forward and backward", ms(found["resnet34_s"])],
        ["`resnet18` at 32 pixels, the same", ms(found["resnet18_s"])],
        ["`resnet8` at 32 pixels, the same", ms(found["resnet8_s"])],
        ["matrix product, float32", flops(found["matmul_flops"])],
        ["exact neighbours, all of it", flops(found["search_flops"])],
        ["inverted lists, looking through 32 of 640", flops(found["scan_flops"])],
        ["cluster: one head, one epoch, C 1,000", f"{ms(found['head_s'])}, {flops(found['head_flops'])}"],
        ["dynamics with `mlp`: one epoch", ms(found["mlp_s"])],
        [f"label, C 100 (here and below: {found['stages_from']})", ms(found["label_s"])],
        ["score, C 100, 10 epochs", ms(found["score_s"])],
        *[[f"select: {name}", ms(seconds)] for name, seconds in found["select_s"].items()],
        [
            "write with fsync; read again from the page cache",
            f"{rate(found['write_rate'])}; {rate(found['read_rate'])}",
        ],
        ["single rows of embeddings out of 2,000 files, page cache", f"{found['take_rate']:,.0f} rows/s"],
        ["SHA-256", rate(found["hash_rate"])],
        ["gloo, 2 ranks of one host: all-reduce of 64 MB; of 4 bytes", talk(found)],
        ["gloo, 2 ranks: hand 64 MB round", rate(found["rotate_rate"])],
        ["start a process with torch", f"{found['start_s']:.1f} s"],
        ["list a folder (`benchmarks/listing.py`)", ms(found["list_s"])],
    ]
    return grid(["what", "each image or sample"], rows)


def talk(found: dict[str, Any]) -> str:
    """Return how fast ranks add up."""
    return f"{rate(found['all_reduce_rate'])}; {found['message_s'] * 1e6:,.0f} us"


def ms(seconds: float) -> str:
    """Return milliseconds, or microseconds where they are few."""
    return f"{short(seconds * 1e3)} ms" if seconds >= 1e-4 else f"{short(max(seconds, 0) * 1e6)} us"


def flops(value: float) -> str:
    """Return operations a second."""
    return f"{value / 1e9:,.0f} GFLOP/s"


def rate(value: float) -> str:
    """Return bytes a second."""
    return f"{short(value / 1e6)} MB/s"


def needs_table(units: Units) -> str:
    """Return what so many images need."""
    s, hardware = SETTING, ASSUMED
    total = sum(item.per_sample(s) for item in ARTIFACTS)
    by_name = {item.name: item for item in ARTIFACTS}
    rows: list[tuple[str, Callable[[float], str]]] = [
        ("images, 110 KB each", lambda n: amount(n * s.image_bytes)),
        ("workspace on disk", lambda n: amount(n * total)),
        *[(f"- {name}", disk_of(by_name[name].per_sample(s))) for name in ("embeddings", "neighbors", "dynamics")],
        ("host memory, 8 ranks: embed", memory_of("embed", 8)),
        ("- first rank: inverted lists", memory_of("neighbours, IVF", 8)),
        ("- 8 ranks: cluster", memory_of("cluster", 8)),
        ("- first rank: score", memory_of("score", 1)),
        ("- first rank: select, `elfs`", memory_of("select, `elfs`", 1)),
        ("- first rank: select, by score alone", memory_of("select, by score alone", 1)),
        ("CPU hours, decoding: embed", lambda n: short(n * units.decode_s / HOUR)),
        ("CPU hours, decoding: dynamics on images", lambda n: short(n * units.augment_s * s.epochs / HOUR)),
        ("CPU hours: score, select", lambda n: short(n * (units.score_s + units.select_s) / HOUR)),
        ("GPU hours*: embed", lambda n: short(n * s.encoder_flops / hardware.encode_flops / HOUR)),
        ("GPU hours*: neighbours, exact", lambda n: short(n * neighbor_flops(s, n) / hardware.search_flops / HOUR)),
        ("CPU hours: neighbours, IVF", list_hours(units, hardware)),
        ("GPU hours*: cluster, 200 epochs", gpu_hours("cluster", units, hardware)),
        ("GPU hours*: dynamics on images, 60 epochs", gpu_hours("dynamics", units, hardware)),
        ("GPU hours*: dynamics with `mlp`, 60 epochs", gpu_hours("dynamics, `--network mlp`", units, hardware)),
        ("read from storage: embed", lambda n: amount(n * s.image_bytes)),
        ("read from storage: dynamics on images", lambda n: amount(n * s.image_bytes * s.epochs)),
        ("sent by each of 8 ranks: neighbours", lambda n: amount(ring_bytes(n, 8))),
        ("sent by each of 8 ranks: cluster", lambda n: amount(cluster_bytes(n, 8))),
        ("sent by each of 8 ranks: dynamics on images", lambda n: amount(dynamics_bytes(n, 8))),
    ]
    return grid(["", *SIZES], [[label, *[value(size) for size in SIZES.values()]] for label, value in rows])


def disk_of(per_sample: float) -> Callable[[float], str]:
    """Return what makes a table's entry of samples."""
    return lambda n: amount(n * per_sample)


def memory_of(stage: str, ranks: int) -> Callable[[float], str]:
    """Return what makes a table's entry of samples: memory of a host with so many ranks."""
    return lambda n: amount(n * MEMORY[stage].host_bytes(SETTING, ranks))


def gpu_hours(stage: str, units: Units, hardware: Hardware) -> Callable[[float], str]:
    """Return what makes a table's entry of samples: a single GPU's time for the steps."""

    def entry(num_samples: float) -> str:
        overlapping = STAGES[stage](SETTING, units, hardware, num_samples, 1).overlapping
        return short(sum(overlapping.get(name, 0) for name in ("GPU", "small steps")) / HOUR)

    return entry


def list_hours(units: Units, hardware: Hardware) -> Callable[[float], str]:
    """Return what makes a table's entry of samples: hours of one core."""

    def entry(num_samples: float) -> str:
        estimate = STAGES["neighbours, IVF"](SETTING, units, hardware, num_samples, 1)
        return short(estimate.seconds * hardware.cores / hardware.gpus / HOUR)

    return entry


def ring_bytes(num_samples: float, ranks: int) -> float:
    """Return what a rank hands on in an exact search."""
    return neighbor_passes(SETTING, num_samples, ranks) * num_samples * 4 * SETTING.dims * (ranks - 1) / ranks


def cluster_bytes(num_samples: float, ranks: int) -> float:
    """Return what a rank sends while the heads are trained."""
    steps = SETTING.cluster_epochs * num_samples / SETTING.cluster_batch
    return steps * 2 * (ranks - 1) / ranks * 4 * SETTING.heads * head_values(SETTING)


def dynamics_bytes(num_samples: float, ranks: int) -> float:
    """Return what a rank sends while the proxy is trained on images."""
    steps = SETTING.epochs * num_samples / SETTING.batch
    return steps * 2 * (ranks - 1) / ranks * 4 * SETTING.proxy_values


def assumed_table(units: Units) -> str:
    """Return the assumptions of the model that are not measured."""
    hardware = ASSUMED
    rows = [
        ["GPUs and CPU cores of a host", f"{hardware.gpus} and {hardware.cores}", "assumed; cores as fast as ours"],
        [
            "encoder",
            f"8,680 images/s a GPU, {hardware.encode_flops / 1e12:.0f} TFLOP/s",
            "measured: ViT-B/16, one H200, images that are decoded (RESULTS)",
        ],
        [
            "proxy on images",
            f"{hardware.train_flops / 1e12:.0f} TFLOP/s, "
            f"{hardware.train_flops / 3 / SETTING.proxy_flops:,.0f} images/s with resnet34",
            "theirs: ResNet-50, one A100, mixed precision, 2,470 images/s, [NVIDIA](https://github.com/NVIDIA/"
            "DeepLearningExamples/tree/master/PyTorch/Classification/ConvNets/resnet50v1.5)",
        ],
        [
            "heads, `mlp`, label",
            f"{hardware.heads_flops / 1e12:.0f} TFLOP/s",
            "measured: 50 heads with 10 clusters, one H200, starts left out (RESULTS); assumed for all else",
        ],
        [
            "exact search",
            f"{hardware.search_flops / 1e12:.0f} TFLOP/s",
            "measured: 1,281,167 x 768, one H200, all of it",
        ],
        [
            "memory of a GPU; embeddings are kept there up to a quarter, as float32 up to half of it",
            amount(hardware.gpu_memory),
            "an H200",
        ],
        [
            "shortest step, however few images",
            f"{hardware.proxy_floor_s * 1e3:.0f} ms resnet34, {hardware.small_floor_s * 1e3:.0f} ms heads and `mlp`",
            "assumed: starting the kernels",
        ],
        ["between GPUs of a host", f"{hardware.local_rate / 1e9:.0f} GB/s", "assumed, NVLink"],
        ["between hosts", f"{hardware.network_rate / 1e9:.0f} GB/s a host", "assumed, 200 Gb/s"],
        ["latency of a message", f"{hardware.latency_s * 1e6:.0f} us, times log2 R", "assumed"],
        [
            "shared storage",
            f"{hardware.host_storage_rate / 1e9:.0f} GB/s a host, {hardware.storage_rate / 1e9:.0f} GB/s in all",
            "assumed",
        ],
        [
            "memory of a host; single rows of embeddings where they take more than half of it",
            f"{amount(hardware.memory)}; {hardware.random_reads:,.0f} a second and host",
            "assumed; else measured, table above",
        ],
        [
            "inverted lists that a query looks into",
            f"{hardware.probes}",
            "assumed; elfs measures what 0.95 recall takes",
        ],
        ["all else", f"list {ms(units.list_s)}, decode {ms(units.decode_s)}, ...", "measured, table above"],
    ]
    return grid(["", "value", "from"], rows)


def simulation_table(units: Units, num_samples: float) -> str:
    """Return time, speed-up and bottleneck of each stage."""
    rows = []
    for name, stage in STAGES.items():
        found = {ranks: stage(SETTING, units, ASSUMED, num_samples, ranks) for ranks in RANKS}
        alone = found[1].seconds
        cells = [
            f"{alone / estimate.seconds:.1f} ({alone / estimate.seconds / ranks:.0%})"
            for ranks, estimate in found.items()
            if ranks > 1
        ]
        rows.append(
            [
                name,
                duration(alone),
                *cells,
                duration(found[64].seconds),
                f"{found[1].bottleneck}; {found[64].bottleneck}",
            ]
        )
    header = ["stage", "1 rank", *[f"{ranks} ranks" for ranks in RANKS[1:]], "64 ranks take", "longest: 1; 64 ranks"]
    return grid(header, rows)


def duration(seconds: float) -> str:
    """Return a time for people."""
    for unit, length in (("days", 86_400), ("h", HOUR), ("min", 60)):
        if seconds >= 2 * length:
            return f"{short(seconds / length)} {unit}"
    return f"{short(seconds)} s"


def batch_table(units: Units, num_samples: float) -> str:
    """Return how dynamics and cluster speed up where the batch grows with the ranks."""
    rows = []
    for name in ("cluster", "dynamics", "dynamics, `--network mlp`"):
        option = "cluster_batch" if name == "cluster" else "batch"
        base = getattr(SETTING, option)
        for factor in (1, 8, 64):
            setting = dataclasses.replace(SETTING, **{option: base * factor})
            alone = STAGES[name](setting, units, ASSUMED, num_samples, 1).seconds
            found = [STAGES[name](setting, units, ASSUMED, num_samples, ranks) for ranks in RANKS[1:]]
            cells = [f"{alone / estimate.seconds:.1f}" for estimate in found]
            rows.append([name, f"{base * factor:,}", duration(alone), *cells, found[-1].bottleneck])
    header = ["stage", "`--batch-size`", "1 rank", *[f"{ranks} ranks" for ranks in RANKS[1:]], "longest, 64 ranks"]
    return grid(header, rows)


def checks_table(units: Units) -> str:
    """Return what others have measured on 8 GPUs, and what the model has for it."""
    setting = dataclasses.replace(SETTING, batch=8 * SETTING.batch)
    one = STAGES["dynamics"](SETTING, units, ASSUMED, SIZES["1.3 M"], 1).seconds
    eight = STAGES["dynamics"](setting, units, ASSUMED, SIZES["1.3 M"], 8).seconds
    encoded = [STAGES["embed"](SETTING, units, ASSUMED, SIZES["1.3 M"], ranks).overlapping["GPU"] for ranks in (1, 8)]
    return grid(
        ["8 GPUs against 1", "theirs", "the model"],
        [
            ["training, 256 images a GPU", "6.7 (ResNet-50, NVIDIA, link above)", f"{one / eight:.1f} (resnet34)"],
            [
                "encoding",
                "6.4 (7,000 against 1,100 images/s, clip-retrieval, by their words held back by resizing)",
                f"{encoded[0] / encoded[1]:.1f} on the GPUs; decoding has 16 cores each",
            ],
        ],
    )


def ranks_table(found: dict[str, Any]) -> str:
    """Return one process against two on the machine of the measurements, and what the model makes of the first."""
    if "ranks" not in found:
        return "Not measured yet."
    start, rows = found["ranks"][0], []
    for trial in found["ranks"]:
        expected = start["two_s"] + (trial["one_s"] - start["one_s"]) / 2 + trial["moved"] / found["all_reduce_rate"]
        rows.append(
            [
                trial["label"],
                f"{trial['one_s']:.1f}",
                f"{trial['two_s']:.1f}",
                f"{trial['speedup']:.2f}",
                f"{trial['one_s'] / expected:.2f}",
            ]
        )
    return grid(["stage", "1 process, s", "2 processes, s", "speed-up", "expected"], rows)


def tables() -> dict[str, str]:
    """Return every generated table of ``docs/scaling.md`` by its name there."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    units = read_units(found)
    return {
        "disk": disk_table(),
        "memory": memory_table(),
        "operations": operations_table(),
        "units": units_table(found),
        "needs": needs_table(units),
        "assumed": assumed_table(units),
        "simulation 1.3 M": simulation_table(units, SIZES["1.3 M"]),
        "simulation 100 M": simulation_table(units, SIZES["100 M"]),
        "batch": batch_table(units, SIZES["1.3 M"]),
        "checks": checks_table(units),
        "ranks": ranks_table(found),
    }


def render(text: str) -> str:
    """Return the document with its tables as they are now.

    Parameters
    ----------
    text : str
        The document. A table ``name`` stands between ``<!-- table name -->`` and ``<!-- end -->``.

    Returns
    -------
    str
        The same with every table replaced.

    Raises
    ------
    ValueError
        If a table has no place, or a place no table.
    """
    made = tables()
    places = re.findall(r"<!-- table ([^>]+) -->", text)
    if sorted(places) != sorted(made):
        raise ValueError(f"the document has places for {sorted(places)}, and there are the tables {sorted(made)}.")
    for name, table in made.items():
        pattern = rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match: f"{match[1]}\n{table}\n\n{match[2]}", text, flags=re.DOTALL)  # noqa: B023
    return text
