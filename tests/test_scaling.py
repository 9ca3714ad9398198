"""The costs that docs/scaling.md states: against real workspaces, the networks, and by hand."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scaling_costs import ARTIFACTS, MEMORY, Setting, head_values, heads_flops, neighbor_flops
from benchmarks.scaling_model import ASSUMED, STAGES, Estimate, Hardware, Units, neighbor_passes
from benchmarks.scaling_tables import DOCUMENT, MEASURED, amount, read_units, render, tables
from elfs.models.heads import ClusterHeads
from elfs.models.networks import build_network
from elfs.ops.neighbors import queries_at_once
from elfs.train.recipes import RECIPES
from elfs.workspace.manifest import Manifest
from elfs.workspace.workspace import Workspace
from tests.chain import SMALL, Finished, finished

FREE = dataclasses.replace(
    ASSUMED,
    proxy_floor_s=0.0,
    small_floor_s=0.0,
    local_rate=1e30,
    network_rate=1e30,
    latency_s=0.0,
    storage_rate=1e30,
    host_storage_rate=1e30,
)
"""Hosts on which nothing but computing takes time."""

UNITS = Units(
    list_s=0.0,
    decode_s=2e-3,
    augment_s=1e-3,
    score_s=1e-5,
    select_s=2e-5,
    hash_rate=1e30,
    write_rate=1e30,
    start_s=0.0,
    take_rate=1e30,
    matmul_flops=1e30,
    scan_flops=1e10,
)
"""Unit costs where everything that the first rank does alone is free, but for score and select."""


def tensor_bytes(manifest: Manifest, path: Path, name: str) -> int:
    """Return the bytes of an artifact's tensor files behind their headers."""
    files = [path / file.name for file in manifest.artifacts[name].files if file.name.endswith(".safetensors")]
    return sum(file.stat().st_size - 8 - int.from_bytes(file.read_bytes()[:8], "little") for file in files)


def setting_of(workspace: Workspace) -> tuple[Setting, int]:
    """Return the sizes of a real workspace, and its number of samples."""
    artifacts = workspace.manifest.artifacts
    num_rows, dims = artifacts["embeddings"].tensors["embeddings"].shape
    state = artifacts["proxy"].tensors
    setting = Setting(
        id_bytes=0,
        dims=dims,
        neighbors=artifacts["neighbors"].tensors["indices"].shape[1],
        clusters=SMALL["cluster"]["clusters"],
        heads=SMALL["cluster"]["heads"],
        hidden=SMALL["cluster"]["hidden"],
        bottleneck=SMALL["cluster"]["bottleneck"],
        epochs=SMALL["dynamics"]["epochs"],
        proxy_values=sum(torch.Size(tensor.shape).numel() for tensor in state.values()),
        keys=len(artifacts["scores"].tensors),
        budget=artifacts["selections/aum-0.2"].tensors["indices"].shape[0] / num_rows,
    )
    return setting, num_rows


@pytest.mark.parametrize("kind", ["embeddings", "folder", "digits"])
def test_disk_formulas_are_the_bytes_of_the_files(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    made: Finished = finished(kind, tmp_path_factory)
    workspace = Workspace.open(made.path)
    setting, num_rows = setting_of(workspace)
    artifacts = workspace.manifest.artifacts
    for item in ARTIFACTS:
        name = item.name.replace("NAME", "aum-0.2")
        expected = item.per_sample(setting) * num_rows + item.fixed(setting)
        if name == "samples":  # ids have different lengths; each image that is left out says why
            tensors = artifacts[name].tensors
            expected += (
                tensors["id_blob"].shape[0] + tensors["reason_blob"].shape[0] + 16 * len(made_reasons(workspace))
            )
        if name == "embeddings":  # the user's own keep their type
            expected += (
                setting.dims * num_rows * {"float16": 0, "float32": 2}[artifacts[name].tensors["embeddings"].dtype]
            )
        if name == "proxy":  # counters of batch norm are int64
            expected += 4 * sum(tensor.dtype == "int64" for tensor in artifacts[name].tensors.values())
        assert tensor_bytes(workspace.manifest, made.path, name) == pytest.approx(expected, abs=1e-6), name
    assert {item.name.partition("/")[0] for item in ARTIFACTS} | {"clusters"} == {
        name.partition("/")[0] for name in artifacts
    }


def made_reasons(workspace: Workspace) -> torch.Tensor:
    """Return the rows of images that are left out."""
    return torch.from_numpy(workspace.arrays("samples")["reason_rows"].copy())


@pytest.mark.slow
def test_defaults_are_those_of_elfs() -> None:
    setting, recipe = Setting(), RECIPES["imagenet"]
    assert (setting.epochs, setting.batch) == (recipe.epochs, recipe.batch_size)
    network = build_network(recipe.network, num_classes=setting.clusters, image_size=224, dim=None, seed=0)
    assert setting.proxy_values == sum(value.numel() for value in network.state_dict().values())
    layers = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert setting.proxy_layers == len(layers)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 224, 224))
    assert setting.proxy_flops == pytest.approx(counter.get_total_flops(), rel=1e-3)
    mlp = build_network("mlp", num_classes=setting.clusters, image_size=224, dim=setting.dims, seed=0)
    assert setting.mlp_values == sum(parameter.numel() for parameter in mlp.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        mlp(torch.zeros(1, setting.dims))
    assert setting.mlp_flops == counter.get_total_flops()


def test_heads_cost_what_their_layers_do() -> None:
    setting = Setting(dims=7, hidden=5, bottleneck=3, clusters=11)
    heads = ClusterHeads(1, 7, 5, 3, 11, torch.Generator().manual_seed(0))
    assert head_values(setting) == sum(parameter.numel() for parameter in heads.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        heads(torch.zeros(1, 7))
    assert heads_flops(setting) == counter.get_total_flops() == 2 * (7 * 5 + 5 * 3 + 3 * 11)
    assert neighbor_flops(setting, 100) == 2 * 7 * 100


def test_passes_of_the_search_follow_its_own_rule() -> None:
    setting = Setting()
    at_once = queries_at_once(setting.dims, setting.neighbors)
    assert neighbor_passes(setting, 4 * at_once, 4) == 1
    assert neighbor_passes(setting, 4 * at_once + 4, 4) == 2
    wide = Setting(dims=8192)
    assert neighbor_passes(wide, 10 * queries_at_once(8192, 50), 1) == 10


def test_all_reduce_by_hand() -> None:
    hardware = dataclasses.replace(ASSUMED, gpus=8, local_rate=100.0, network_rate=10.0, latency_s=0.5)
    assert hardware.all_reduce_s(1000, 1) == 0
    assert hardware.all_reduce_s(1000, 8) == pytest.approx(2 * 7 / 8 * 1000 / 100 + 0.5 * 3)
    assert hardware.all_reduce_s(1000, 16) == pytest.approx(2 * 15 / 16 * 1000 / 10 + 0.5 * 4)


def test_storage_is_shared() -> None:
    hardware = dataclasses.replace(ASSUMED, gpus=8, host_storage_rate=5.0, storage_rate=12.0)
    assert [hardware.read_rate(ranks) for ranks in (1, 8, 9, 16, 64)] == [5, 5, 10, 10, 12]


def test_what_overlaps_counts_once() -> None:
    estimate = Estimate({"GPU": 3.0, "decoding": 5.0}, {"network": 4.0, "start": 1.0})
    assert estimate.seconds == 10
    assert estimate.bottleneck == "decoding"
    assert Estimate({"GPU": 3.0, "decoding": 1.0}, {"network": 4.0}).bottleneck == "network"


def test_embed_by_hand() -> None:
    setting = Setting(encoder_flops=1e9, dims=1, image_bytes=98)
    hardware: Hardware = dataclasses.replace(
        FREE, gpus=8, cores=32, encode_flops=1e12, storage_rate=200.0, host_storage_rate=100.0
    )
    found = STAGES["embed"](setting, UNITS, hardware, 1000, 8)
    # 2 ms on 4 cores for each of 8 ranks; 1 ms a GPU; 100 bytes at 100 bytes/s
    assert found.overlapping == pytest.approx({"decoding": 1000 * 2e-3 / 32, "GPU": 1 / 8, "storage": 1000.0})
    units = dataclasses.replace(UNITS, list_s=1.0, start_s=3.0)
    assert STAGES["embed"](setting, units, hardware, 1000, 8).following == pytest.approx(
        {"first rank": 1000.0, "start": 3.0}
    )


def test_dynamics_by_hand() -> None:
    setting = Setting(epochs=2, batch=10, proxy_flops=1e9, proxy_values=25, proxy_layers=3, image_bytes=0)
    hardware = dataclasses.replace(FREE, train_flops=3e9, local_rate=1.0, latency_s=1.0, proxy_floor_s=2.0)
    # 20 steps of 10 images of 1 s: 5 s for each of 2 ranks; 100 bytes take 2 * 1/2 * 100 + 1 = 101 s, of which 2/3 of 5
    # are hidden; 6 sums of statistics a step, 1 s each
    found = STAGES["dynamics"](setting, UNITS, hardware, 100, 2)
    assert found.overlapping["GPU"] == pytest.approx(20 * 5)
    assert found.following["network"] == pytest.approx(20 * (101 - 10 / 3) + 20 * 6)
    alone = STAGES["dynamics"](setting, UNITS, hardware, 100, 1)
    assert alone.following["network"] == 0
    many = STAGES["dynamics"](setting, UNITS, hardware, 100, 8)
    assert many.overlapping["small steps"] == pytest.approx(20 * 2)


@pytest.mark.parametrize("name", STAGES)
def test_nothing_but_computing_scales_perfectly(name: str) -> None:
    """On free hosts everything that ranks share takes 1 / R; what one rank does alone takes as long as ever."""
    alone, many = (STAGES[name](Setting(), UNITS, FREE, 1e6, ranks).seconds for ranks in (1, 64))
    shared = name not in ("score", "select")
    assert alone / many == pytest.approx(64 if shared else 1, rel=0.01)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("num_samples", [1e6, 1e9])
def test_no_stage_is_faster_than_its_ranks(name: str, num_samples: float) -> None:
    units = read_units(json.loads(MEASURED.read_text(encoding="utf-8")))
    alone = STAGES[name](Setting(), units, ASSUMED, num_samples, 1).seconds
    for ranks in (2, 8, 64):
        assert alone / STAGES[name](Setting(), units, ASSUMED, num_samples, ranks).seconds <= ranks * 1.001


def test_row_reads_appear_above_half_of_a_gpu_and_hit_the_storage_beyond_memory() -> None:
    units = dataclasses.replace(UNITS, take_rate=100.0)
    hardware = dataclasses.replace(FREE, random_reads=10.0, memory=1e12, gpu_memory=8.6e9)

    def seconds(num_samples: float) -> float:
        return STAGES["dynamics, `--network mlp`"](Setting(), units, hardware, num_samples, 16).overlapping["row reads"]

    assert seconds(1.39e6) == 0  # 1.39 M x 768 x 4 bytes are just below half of it
    assert seconds(1.4e6) == pytest.approx(60 * 1.4e6 / (100 * 16))
    assert seconds(1e9) == pytest.approx(60 * 1e9 / (10 * 2))


def test_exact_search_reads_the_rows_of_its_candidates() -> None:
    """50 + 17 for each image, at 100 rows a second and rank: 16 ranks are two hosts."""
    units = dataclasses.replace(UNITS, take_rate=100.0)
    hardware = dataclasses.replace(FREE, random_reads=10.0, memory=1e12, gpu_memory=6e9)
    found = [STAGES["neighbours, exact"](Setting(), units, hardware, count, 16).following for count in (9e5, 1e6, 1e9)]
    expected = [0, 67 * 1e6 / (100 * 16), 67 * 1e9 / (10 * 2)]  # 0.9 M x 768 x 2 bytes are below a quarter of the GPU
    assert [part["row reads"] for part in found] == pytest.approx(expected)


def test_memory_grows_with_the_ranks_of_a_host_where_each_holds_its_own() -> None:
    for stage, item in MEMORY.items():
        one, eight = item.host_bytes(Setting(), 1), item.host_bytes(Setting(), 8)
        assert (one == eight) == (item.where == "first rank"), stage


def test_amounts_are_written_in_powers_of_a_thousand() -> None:
    assert [amount(value) for value in (0, 999, 1500, 2.5e6, 1.5e12, 66e15)] == [
        "0 bytes",
        "999 bytes",
        "1.5 KB",
        "2.5 MB",
        "1.5 TB",
        "66 PB",
    ]


def test_tables_of_the_document_are_up_to_date() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert render(text) == text, "run: python -m benchmarks.scaling --write"


def test_figures_of_the_prose_follow_from_the_model() -> None:
    """A step on one GPU, its gradients between two hosts, and the cores that decode for a GPU."""
    setting, text = Setting(), " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    heads_s = setting.cluster_batch * 8 * setting.heads * heads_flops(setting) / ASSUMED.heads_flops
    gradient_bytes = 4.0 * setting.heads * head_values(setting)
    gradients_s = ASSUMED.all_reduce_s(gradient_bytes, 16)
    proxy_s = setting.batch * 3 * setting.proxy_flops / ASSUMED.train_flops
    decode_s = read_units(json.loads(MEASURED.read_text())).decode_s
    assert f"A step of {setting.cluster_batch:,} images is {1e3 * heads_s:.0f} ms on one GPU" in text
    assert f"and {gradient_bytes / 1e6:.0f} MB of gradients take {1e3 * gradients_s:.0f} ms between hosts" in text
    assert f"a step of {setting.batch} images is {1e3 * proxy_s:.0f} ms on one GPU" in text
    assert f"8,680 x {1e3 * decode_s:.1f} ms = {8680 * decode_s:.0f} of our cores" in text


def test_render_refuses_a_document_without_a_place_for_each_table() -> None:
    with pytest.raises(ValueError, match=r"the document has places for \['disk'\], and there are the tables"):
        render("<!-- table disk -->\n<!-- end -->")


def test_render_replaces_what_stands_in_a_place() -> None:
    places = "\n".join(f"# {name}\n<!-- table {name} -->\nwhat stood here\n<!-- end -->" for name in tables())
    once = render(places)
    assert "what stood here" not in once
    assert render(once) == once
    assert tables()["disk"] in once
