"""What a sample costs in each stage: bytes on disk and in memory, operations, bytes over the network.

The one place of the formulas of ``docs/scaling.md``; ``tests/test_scaling.py`` holds those of the disk against real
workspaces.
"""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ARTIFACTS", "MEMORY", "Artifact", "Memory", "Setting", "head_values", "heads_flops", "neighbor_flops"]

MLP_HIDDEN = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The sizes that decide what a sample costs; by default those of ``elfs run`` on a large folder of photographs.

    Attributes
    ----------
    image_bytes : int
        Size of an image file; 110,000 is the mean of ImageNet's.
    id_bytes : int
        Length of an id, the path below the folder.
    dims, neighbors, clusters : int
        D, K and C.
    heads, hidden, bottleneck : int
        H cluster heads, and the widths W and B of their layers.
    cluster_epochs, cluster_batch : int
        Of the training of the heads.
    epochs, batch : int
        E epochs of dynamics, images of a step.
    encoder_flops, proxy_flops : float
        Of one forward pass of one image: vit_base_patch16_224 and resnet34 at 224 pixels.
    proxy_values : int
        Parameters and buffers of the proxy.
    proxy_layers : int
        Layers of the proxy that normalise by the batch.
    keys : int
        Scores of a sample.
    budget : float
        Share of the pool that is selected.
    """

    image_bytes: int = 110_000
    id_bytes: int = 30
    dims: int = 768
    neighbors: int = 50
    clusters: int = 1000
    heads: int = 50
    hidden: int = 512
    bottleneck: int = 256
    cluster_epochs: int = 200
    cluster_batch: int = 1024
    epochs: int = 60
    batch: int = 256
    encoder_flops: float = 35.1e9
    proxy_flops: float = 7.33e9
    proxy_values: int = 21_814_732
    proxy_layers: int = 36
    keys: int = 14
    budget: float = 0.1

    @property
    def mlp_values(self) -> int:
        """Parameters of the proxy on embeddings."""
        return MLP_HIDDEN * (self.dims + 1) + self.clusters * (MLP_HIDDEN + 1)

    @property
    def mlp_flops(self) -> float:
        """Of one forward pass of one embedding through that proxy."""
        return 2.0 * MLP_HIDDEN * (self.dims + self.clusters)


def head_values(setting: Setting) -> int:
    """Return the numbers that one cluster head consists of."""
    layers = setting.hidden * (setting.dims + 1) + setting.bottleneck * (setting.hidden + 1)
    return layers + setting.clusters * (setting.bottleneck + 1)


def heads_flops(setting: Setting) -> float:
    """Return the operations of one image in one head, forward."""
    return 2.0 * (
        setting.hidden * setting.dims + setting.bottleneck * setting.hidden + setting.clusters * setting.bottleneck
    )


def neighbor_flops(setting: Setting, num_samples: float) -> float:
    """Return the operations of one image in the exact search."""
    return 2.0 * setting.dims * num_samples


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an artifact takes on disk, without the header of its files (1 KB each).

    Attributes
    ----------
    name, stage : str
        The artifact, and which stage makes it.
    formula : str
        Bytes of a sample, for people.
    per_sample : Callable
        The same, computed.
    fixed : Callable
        Bytes that do not depend on the number of samples.
    fixed_formula : str
        The same, for people.
    """

    name: str
    stage: str
    formula: str
    per_sample: Callable[[Setting], float]
    fixed: Callable[[Setting], float] = lambda _: 0.0
    fixed_formula: str = ""


ARTIFACTS = (
    Artifact("samples", "embed", "19 + id", lambda s: 19 + s.id_bytes, lambda _: 16, "16"),
    Artifact("embeddings", "embed", "2 D + 8", lambda s: 2 * s.dims + 8),
    Artifact("neighbors", "embed", "8 K", lambda s: 8 * s.neighbors),
    Artifact(
        "heads",
        "cluster",
        "0",
        lambda _: 0,
        lambda s: 4 * (s.heads * (head_values(s) + 2 * s.clusters + 1) + 2 * s.dims),
        "4 (H (W (D + 1) + B (W + 1) + C (B + 3) + 1) + 2 D)",
    ),
    Artifact("pseudo_labels", "label", "12", lambda _: 12),
    Artifact("dynamics", "dynamics", "9 E", lambda s: 9 * s.epochs),
    Artifact("proxy", "dynamics", "0", lambda _: 0, lambda s: 4 * s.proxy_values, "4 x numbers of the proxy"),
    Artifact("scores", "score", "4 x keys", lambda s: 4 * s.keys),
    Artifact("selections/NAME", "select", "8 x budget", lambda s: 8 * s.budget),
)
"""Each artifact; a selection has ``selection.csv`` too, about 60 bytes and the id for each image picked."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a stage holds that grows with the samples.

    Attributes
    ----------
    where : str
        Every rank, or the first one.
    host, device : str
        Bytes of a sample in host memory and on the GPU, for people.
    host_bytes : Callable
        Bytes of a sample in the memory of a host, of a setting and the number of ranks on the host.
    """

    where: str
    host: str
    device: str
    host_bytes: Callable[[Setting, int], float]


def selected_bytes(setting: Setting, ordering: float, kept: float, of_pick: float) -> float:
    """Return what select holds of a sample, where it sorts the pool or where it writes the picks, whichever is more."""
    return max(ordering, kept + (of_pick + 2 * setting.id_bytes) * setting.budget)


MEMORY = {
    "embed": Memory(
        "every rank",
        "39 + id: masks, and the table for its workers; 51 + id more on the first: the table, the work dealt out",
        "0",
        lambda s, ranks: ranks * (39 + s.id_bytes) + 51 + s.id_bytes,
    ),
    "neighbours, exact": Memory(
        "every rank",
        "49: rows, the work dealt out, of which 17 stay; the lengths too on a CPU",
        "8: lengths; 2 D more up to a quarter of it",
        lambda s, ranks: ranks * 49,
    ),
    "neighbours, IVF": Memory(
        "first rank; the others map its file",
        "2 D + 8, and 17 on every rank",
        "0",
        lambda s, ranks: 2 * s.dims + 8 + ranks * 17,
    ),
    "cluster": Memory(
        "every rank",
        "8 K + 40, of which 4 K stay: neighbours as positions",
        "4 D up to half of it, above that 0",
        lambda s, ranks: ranks * (8 * s.neighbors + 40),
    ),
    "label": Memory("every rank", "16: rows", "0", lambda s, ranks: ranks * 16),
    "dynamics": Memory(
        "every rank",
        "32: rows, labels, order of an epoch",
        "8 + 9 / R: labels, traces of an epoch; 27 + 9 / R on the first",
        lambda s, ranks: ranks * 32,
    ),
    "dynamics, images of at most 64 pixels": Memory(
        "every rank",
        "32 + 3 S^2 while they are decoded",
        "3 S^2, S the side",
        lambda s, ranks: ranks * (32 + 3 * 32**2),
    ),
    "dynamics, `--network mlp`": Memory(
        "every rank", "32", "4 D up to half of it, above that 0", lambda s, ranks: ranks * 32
    ),
    "score": Memory("first rank", "4 x keys + 40", "0", lambda s, ranks: 4 * s.keys + 40),
    "select, by score alone": Memory(
        "first rank",
        "48, or 30 + (300 + 2 id) x budget: names and lines of the picks",
        "0",
        lambda s, ranks: selected_bytes(s, 48, 30, 300),
    ),
    "select, `elfs`": Memory(
        "first rank",
        "2 D more than by score alone",
        "0",
        lambda s, ranks: selected_bytes(s, 48, 30, 300) + 2 * s.dims,
    ),
    "select, `facility-location`": Memory(
        "first rank",
        "2 D more than by score alone",
        "0",
        lambda s, ranks: selected_bytes(s, 48, 30, 300) + 2 * s.dims,
    ),
    "select, `auto`": Memory(
        "first rank",
        "2 D + 8 more than by score alone: how hard each is beside the others",
        "0",
        lambda s, ranks: selected_bytes(s, 48, 30, 300) + 2 * s.dims + 8,
    ),
    "select, `random`": Memory(
        "first rank",
        "52, or 28 + (230 + 2 id) x budget",
        "0",
        lambda s, ranks: selected_bytes(s, 52, 28, 230),
    ),
    "select, `random`, up to 2,000,000 images": Memory(
        "first rank",
        "2 D more, to say what it covers",
        "0",
        lambda s, ranks: selected_bytes(s, 52, 28, 230) + 2 * s.dims,
    ),
}
"""By stage; ``elfs`` with its automatic hard rate and exact copies left out, ``by score alone`` without either.

Beside it every process holds torch, and a decoding worker two batches of 64 images of 0.6 MB. Those of select are
measured (``benchmarks/growth.py``), the others counted.
"""
