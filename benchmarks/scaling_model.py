"""How long each stage takes on several hosts: a small model, fed with measured unit costs and stated assumptions.

A stage is a sum of what happens one after the other, and where work overlaps (reading, decoding, computing) the longest
of it counts. Nothing here is a measurement; ``docs/scaling.md`` says what was checked.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.scaling_costs import Setting, head_values, heads_flops, neighbor_flops

__all__ = ["ASSUMED", "STAGES", "Estimate", "Hardware", "Units", "neighbor_passes"]

QUERIES_AT_ONCE = 65_536
QUERY_BYTES = 1 << 29
SPARE = 17
KMEANS_ROUNDS = 10
BACKWARD_SHARE = 2 / 3
"""Of a step, during which gradients are already being added up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """Measured costs of one core of the machine that the file of measurements names, in seconds and bytes.

    Attributes
    ----------
    list_s : float
        To list an image.
    decode_s, augment_s : float
        To read, decode and transform an image for the encoder, and for the proxy.
    score_s, select_s : float
        Of a sample: score; select with ``elfs``, automatic hard rate.
    hash_rate, write_rate : float
        Bytes a second: SHA-256, writing with fsync.
    start_s : float
        Until a process has loaded torch.
    take_rate : float
        Rows of embeddings a second that one process picks out of its memory map, while the page cache holds them.
    matmul_flops, scan_flops : float
        Operations a second: matrix products, and looking through inverted lists.
    """

    list_s: float
    decode_s: float
    augment_s: float
    score_s: float
    select_s: float
    hash_rate: float
    write_rate: float
    start_s: float
    take_rate: float
    matmul_flops: float
    scan_flops: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """Hosts, as assumed, and one GPU, in part as measured.

    Attributes
    ----------
    gpus, cores : int
        Of a host.
    encode_flops, train_flops, heads_flops, search_flops : float
        Operations a second of a GPU: encoder, convolutions in training, heads and proxies on embeddings, exact search.
    proxy_floor_s, small_floor_s : float
        A step of the proxy on images, and one of the heads or of the proxy on embeddings, however few images it has.
    local_rate, network_rate : float
        Bytes a second between the GPUs of a host, and into and out of a host.
    latency_s : float
        Of a message.
    storage_rate, host_storage_rate : float
        Bytes a second that the shared storage gives to all hosts together, and to one.
    memory : float
        Bytes of a host: where embeddings take more than half of it, the page cache does not hold them.
    gpu_memory : float
        Bytes of a GPU: a search keeps the embeddings there up to a quarter of it, a training up to half, as float32.
    random_reads : float
        Single rows a second that the storage gives to one host then.
    probes : int
        Inverted lists into which a query looks.
    """

    gpus: int
    cores: int
    encode_flops: float
    train_flops: float
    heads_flops: float
    search_flops: float
    proxy_floor_s: float
    small_floor_s: float
    local_rate: float
    network_rate: float
    latency_s: float
    storage_rate: float
    host_storage_rate: float
    memory: float
    gpu_memory: float
    random_reads: float
    probes: int

    def hosts(self, ranks: int) -> int:
        """Return how many hosts so many ranks take, one rank a GPU."""
        return -(-ranks // self.gpus)

    def read_rate(self, ranks: int) -> float:
        """Return the bytes a second that all ranks together read."""
        return min(self.storage_rate, self.host_storage_rate * self.hosts(ranks))

    def link_rate(self, ranks: int) -> float:
        """Return the bytes a second on the slowest link of a ring of ranks."""
        return self.local_rate if ranks <= self.gpus else self.network_rate

    def all_reduce_s(self, num_bytes: float, ranks: int) -> float:
        """Return the seconds to add up a tensor over the ranks: a ring, and latency by the depth of a tree."""
        if ranks == 1:
            return 0.0
        moved = 2 * (ranks - 1) / ranks * num_bytes
        return moved / self.link_rate(ranks) + self.latency_s * math.log2(ranks)


ASSUMED = Hardware(
    gpus=8,
    cores=128,
    encode_flops=8680 * 35.1e9,
    train_flops=2470 * 3 * 8.18e9,
    heads_flops=166e12,
    search_flops=101e12,
    proxy_floor_s=0.012,
    small_floor_s=0.003,
    local_rate=200e9,
    network_rate=25e9,
    latency_s=20e-6,
    storage_rate=20e9,
    host_storage_rate=5e9,
    memory=1e12,
    gpu_memory=150e9,
    random_reads=500_000,
    probes=32,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a stage takes, and why.

    Attributes
    ----------
    overlapping : mapping of str to float
        Seconds of what happens at the same time, by resource: the longest counts.
    following : mapping of str to float
        Seconds of what comes on top, by resource.
    """

    overlapping: Mapping[str, float]
    following: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """In all."""
        return max(self.overlapping.values()) + sum(self.following.values())

    @property
    def bottleneck(self) -> str:
        """What takes longest."""
        busiest = max(self.overlapping, key=lambda name: self.overlapping[name])
        counted = {busiest: self.overlapping[busiest]} | dict(self.following)
        return max(counted, key=lambda name: counted[name])


Stage = Callable[[Setting, Units, Hardware, float, int], Estimate]
"""From setting, units, hardware, samples and ranks to an estimate."""


def neighbor_passes(setting: Setting, num_samples: float, ranks: int) -> int:
    """Return how often the whole table of embeddings goes round in an exact search."""
    row_bytes = 4 * setting.dims + 48 * (setting.neighbors + SPARE)
    return math.ceil(num_samples / ranks / min(QUERIES_AT_ONCE, QUERY_BYTES // row_bytes))


def _publish_s(units: Units, num_bytes: float) -> float:
    """Return the seconds in which the first rank writes and hashes an artifact."""
    return num_bytes / units.write_rate + num_bytes / units.hash_rate


def _embed(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    cores = min(hardware.cores / hardware.gpus, 16) * ranks  # 16 workers at most for each rank
    table = 19 + setting.id_bytes
    return Estimate(
        {
            "decoding": num_samples * units.decode_s / cores,
            "GPU": num_samples * setting.encoder_flops / hardware.encode_flops / ranks,
            "storage": num_samples * (setting.image_bytes + 2 * setting.dims) / hardware.read_rate(ranks),
        },
        {
            "first rank": num_samples * units.list_s
            + _publish_s(units, num_samples * table)
            + num_samples * 2 * setting.dims / units.hash_rate,
            "start": units.start_s,
        },
    )


def _row_reads_s(
    setting: Setting, units: Units, hardware: Hardware, num_rows: float, num_samples: float, ranks: int
) -> float:
    """Return the seconds to read embeddings row by row."""
    if num_samples * setting.dims * 2 > hardware.memory / 2:
        return num_rows / (hardware.random_reads * hardware.hosts(ranks))
    return num_rows / (units.take_rate * ranks)


def _batch_reads_s(
    setting: Setting, units: Units, hardware: Hardware, num_rows: float, num_samples: float, ranks: int
) -> float:
    """Return the seconds to read batches of embeddings, where they are too many to be kept on a GPU."""
    if num_samples * setting.dims * 4 <= hardware.gpu_memory / 2:
        return 0.0
    return _row_reads_s(setting, units, hardware, num_rows, num_samples, ranks)


def _neighbors(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    passes = neighbor_passes(setting, num_samples, ranks)
    moved = passes * num_samples * 4 * setting.dims * (ranks - 1) / ranks
    candidates = 0  # whose rows are read again for their exact cosines, unless the GPU holds all
    if num_samples * setting.dims * 2 > hardware.gpu_memory / 4:
        candidates = setting.neighbors + SPARE
    return Estimate(
        {
            "GPU": num_samples * neighbor_flops(setting, num_samples) / hardware.search_flops / ranks,
            "storage": (passes + 1) * num_samples * 2 * setting.dims / hardware.read_rate(ranks),
        },
        {
            "hashing": num_samples * 2 * setting.dims / units.hash_rate / ranks,
            "network": moved / hardware.link_rate(ranks),
            "row reads": _row_reads_s(setting, units, hardware, num_samples * candidates, num_samples, ranks),
            "first rank": _publish_s(units, num_samples * 8 * setting.neighbors),
        },
    )


def _lists(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    num_lists = max(1.0, min(4 * math.sqrt(num_samples), num_samples / 64))
    seen = KMEANS_ROUNDS * 64 * num_lists + num_samples  # the sample that k-means sees, and every row to its list
    cores = hardware.cores / hardware.gpus
    looked_at = num_lists + min(hardware.probes, num_lists) * num_samples / num_lists
    return Estimate(
        {"CPU": num_samples * 2 * setting.dims * looked_at / (units.scan_flops * cores * ranks)},
        {
            "first rank": seen * num_lists * 2 * setting.dims / (units.matmul_flops * cores)
            + num_samples * (2 * setting.dims + 8) / units.write_rate
            + _publish_s(units, num_samples * 8 * setting.neighbors),
        },
    )


def _trained(
    steps: float, compute_s: float, floor_s: float, gradient_bytes: float, hardware: Hardware, ranks: int
) -> dict[str, float]:
    """Return what a data-parallel training takes: computing or starting kernels, and the sums that do not overlap."""
    step = max(compute_s / ranks, floor_s)
    hidden = BACKWARD_SHARE * step
    exposed = max(0.0, hardware.all_reduce_s(gradient_bytes, ranks) - hidden)
    return {"GPU" if compute_s / ranks >= floor_s else "small steps": steps * step, "network": steps * exposed}


def _cluster(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    steps = setting.cluster_epochs * num_samples / setting.cluster_batch
    flops = (
        setting.cluster_batch * 2 * 4 * setting.heads * heads_flops(setting)
    )  # two views; forward, backward, teacher
    gradient = 4.0 * setting.heads * head_values(setting)
    step = _trained(steps, flops / hardware.heads_flops, hardware.small_floor_s, gradient, hardware, ranks)
    network = step.pop("network")
    rows = 2 * setting.cluster_epochs * num_samples
    step["row reads"] = _batch_reads_s(setting, units, hardware, rows, num_samples, ranks)
    return Estimate(step, {"network": network, "start": units.start_s})


def _label(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    return Estimate(
        {
            "GPU": num_samples * heads_flops(setting) / hardware.heads_flops / ranks,
            "storage": num_samples * 2 * setting.dims / hardware.read_rate(ranks),
        },
        {"first rank": _publish_s(units, num_samples * 12), "start": units.start_s},
    )


def _dynamics(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    cores = min(hardware.cores / hardware.gpus, 16) * ranks
    seen = setting.epochs * num_samples
    compute = setting.batch * 3 * setting.proxy_flops / hardware.train_flops
    gradient = 4.0 * setting.proxy_values
    step = _trained(seen / setting.batch, compute, hardware.proxy_floor_s, gradient, hardware, ranks)
    statistics = 0.0
    if ranks > 1:  # synchronised batch norm: two small sums a layer that nothing overlaps with
        statistics = seen / setting.batch * 2 * setting.proxy_layers * hardware.latency_s * math.log2(ranks)
    network = step.pop("network") + statistics
    step |= {
        "decoding": seen * units.augment_s / cores,
        "storage": seen * setting.image_bytes / hardware.read_rate(ranks),
    }
    first = _publish_s(units, num_samples * 9 * setting.epochs) + num_samples * 9 * setting.epochs / units.write_rate
    return Estimate(step, {"network": network, "first rank": first, "start": units.start_s})


def _dynamics_mlp(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    seen = setting.epochs * num_samples
    compute = setting.batch * 3 * setting.mlp_flops / hardware.heads_flops
    gradient = 4.0 * setting.mlp_values
    step = _trained(seen / setting.batch, compute, hardware.small_floor_s, gradient, hardware, ranks)
    network = step.pop("network")
    step["row reads"] = _batch_reads_s(setting, units, hardware, seen, num_samples, ranks)
    first = _publish_s(units, num_samples * 9 * setting.epochs) + num_samples * 9 * setting.epochs / units.write_rate
    return Estimate(step, {"network": network, "first rank": first, "start": units.start_s})


def _score(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    return Estimate({"first rank": num_samples * units.score_s})


def _select(setting: Setting, units: Units, hardware: Hardware, num_samples: float, ranks: int) -> Estimate:
    return Estimate({"first rank": num_samples * units.select_s})


STAGES: dict[str, Stage] = {
    "embed": _embed,
    "neighbours, exact": _neighbors,
    "neighbours, IVF": _lists,
    "cluster": _cluster,
    "label": _label,
    "dynamics": _dynamics,
    "dynamics, `--network mlp`": _dynamics_mlp,
    "score": _score,
    "select": _select,
}
"""In the order in which they run; one of the two dynamics does."""
