"""What a chain is said to take before it starts, held against formulas by hand and against what a run leaves."""

import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from elfs.catalog import STAGES
from elfs.config import (
    ClusterConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    ScoreConfig,
    SelectConfig,
    StageConfig,
    cheaper,
)
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages.estimates import chain
from elfs.stages.estimates.chain import chain_costs
from elfs.stages.estimates.costs import core_speed, encoder_seconds, stage_cost
from elfs.stages.estimates.pool_facts import PoolFacts, facts_before_embed, facts_of
from elfs.stages.estimates.training_costs import training_seconds
from elfs.train.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("few_atoms")

LARGEST_STEP = 3.75
"""From a pool to one with a twentieth more images, clusters or dimensions: the graph is taken up to three times the
time of heads, and looks for neighbours anew where embeddings may point one way."""

POOL = PoolFacts(num_images=10_000, image_side=32, dims=176, num_clusters=10)


def calls(source: str = "synthetic:clean,images=60,test=0,size=12") -> dict[str, StageConfig]:
    return {
        "embed": EmbedConfig(source=source, neighbors=10),
        "cluster": ClusterConfig(clusters=3),
        "label": LabelConfig(),
        "dynamics": DynamicsConfig(network="mlp", epochs=4),
        "score": ScoreConfig(),
        "select": SelectConfig(budget="10%"),
    }


def seconds(stage: str, config: StageConfig, facts: PoolFacts = POOL, *, speed: float = 1.0, cores: int = 1) -> float:
    found = stage_cost(stage, config, facts, speed=speed, cores=cores).seconds
    assert found is not None
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_more_images_take_more_of_everything(stage: str) -> None:
    config, more = calls()[stage], dataclasses.replace(POOL, num_images=100_000)
    if isinstance(config, EmbedConfig):
        config = dataclasses.replace(config, encoder="patches")
    few, many = (stage_cost(stage, config, facts, speed=1.0, cores=1) for facts in (POOL, more))
    assert (few.seconds or 0) < (many.seconds or 0)
    assert many.memory_bytes > few.memory_bytes > 1e9
    assert many.disk_bytes >= few.disk_bytes > 0


def test_the_search_grows_with_the_square_of_the_images() -> None:
    own = EmbedConfig(source="embeddings")
    given = PoolFacts(num_images=100_000, image_side=None, dims=768)
    twice = dataclasses.replace(given, num_images=200_000)
    assert seconds("embed", own, given) == pytest.approx(100_000 * (1e-4 + 2e-9 * 768 * 100_000 / 99))
    assert 3.5 < seconds("embed", own, twice) / seconds("embed", own, given) < 4


def test_a_faster_core_and_more_cores_take_less_but_read_as_fast_as_was_seen() -> None:
    config = EmbedConfig(source="folder", encoder="lite")
    slow_disk = dataclasses.replace(POOL, read_seconds=0.05)
    one, fast = seconds("embed", config, slow_disk), seconds("embed", config, slow_disk, speed=2.0)
    assert one - fast == pytest.approx((one - 500) / 2)
    assert one - seconds("embed", config, slow_disk, cores=4) == pytest.approx(500 * 3 / 4)
    assert seconds("score", ScoreConfig(), cores=4) == seconds("score", ScoreConfig())


def test_encoders_side_by_side_add_up_and_unknown_ones_are_said_to_be() -> None:
    both = encoder_seconds("lite+vit_base_patch16_224.dino", 224)
    assert both == pytest.approx(0.033 + 0.364)
    assert encoder_seconds("patches", 64) == encoder_seconds("patches", 500) == pytest.approx(0.0066)
    assert encoder_seconds("resnet50", 224) is None
    assert stage_cost("embed", EmbedConfig(source="x", encoder="resnet50"), POOL, speed=1, cores=1).seconds is None
    assert stage_cost("dynamics", DynamicsConfig(network="resnet50"), POOL, speed=1, cores=1).seconds is None


def test_heads_and_networks_on_images_take_what_their_steps_take() -> None:
    heads = ClusterConfig(method="temi", clusters=10, heads=2, epochs=100)
    steps = 16 * (256 * 176 + 128 * (256 + 10)) * 100 * 10_000 / 99e9
    own, pair = 8192 * (6e-6 + 1e-7 * 10), 40e-6 + 8e-9 * 8192 + 1.5e-6 * 10 + 1.5e-8 * 100
    by_kmeans = 0.9e-6 * 10_000 * 176 * (1 + 10 / 150)
    assert seconds("cluster", heads) == pytest.approx(1.5 + by_kmeans + 2 * (steps + own + pair))
    many = dataclasses.replace(heads, heads=2000)
    assert seconds("cluster", many) == pytest.approx(1.5 + by_kmeans + 2000 * (steps + own + 1999 * pair))
    counted = dataclasses.replace(POOL, num_clusters=None)
    assert seconds("cluster", ClusterConfig(), counted) == pytest.approx(seconds("cluster", ClusterConfig()) + 3)
    proxy = DynamicsConfig(recipe="small", epochs=10)
    assert seconds("dynamics", proxy) == pytest.approx(1 + 10_000 * 10 * 0.00097)
    large = dataclasses.replace(POOL, image_side=224, read_seconds=0.01)
    streamed = DynamicsConfig(recipe="imagenet", epochs=2)
    assert seconds("dynamics", streamed, large) == pytest.approx(1 + 10_000 * 2 * (0.140 + 0.01))


def test_every_method_of_cluster_has_a_time_of_its_own() -> None:
    kmeans, turtle, graph = (ClusterConfig(method=method, clusters=30) for method in ("kmeans", "turtle", "graph"))
    assert seconds("cluster", kmeans) == pytest.approx(0.9e-6 * 10_000 * 176 * 1.2)
    trained = seconds("cluster", kmeans) + 3.3 + 6.5e-5 * 8 * 176 * 30
    own, pair = 8192 * (6e-6 + 1e-7 * 30), 40e-6 + 8e-9 * 8192 + 1.5e-6 * 30 + 1.5e-8 * 900
    assert seconds("cluster", turtle) == pytest.approx(trained + 8 * (own + 7 * pair))
    wide = dataclasses.replace(turtle, heads=16, batch_size=512)
    trained += 3 * 6.5e-5 * 8 * 176 * 30
    assert seconds("cluster", wide) == pytest.approx(trained + 16 * (own + 15 * pair))
    by_clusters = 10_000 * 30 * (5.5e-8 * 176 + 3.5e-8 * 30) + 8.5e-7 * 30**3
    centred = dataclasses.replace(POOL, may_point_one_way=False)
    assert seconds("cluster", graph, centred) == pytest.approx(3 + 10_000 * (5e-4 + 0.9e-6 * 176) + by_clusters)
    disk = [stage_cost("cluster", config, POOL, speed=1.0, cores=1).disk_bytes for config in (kmeans, turtle, wide)]
    assert disk == [4 * 176 * 30, 8 * 4 * 176 * 30, 16 * 4 * 176 * 30]


def test_inverted_lists_are_built_judged_and_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    ivf = EmbedConfig(source="embeddings", neighbor_search="ivf")
    given = PoolFacts(num_images=1_000_000, image_side=None, dims=64)
    pair, lists = 2e-9 * 64 / 99, 4_000
    built = pair * lists * (640 * lists + 1_000_000) + 1_000 * (2e-4 + pair * 1_000_000)
    asked = 1_000_000 * (8e-6 + 5e-8 * 64 + pair * lists + 16 * 250 * (1.5e-8 + 2.45e-10 * 64))
    assert seconds("embed", ivf, given) == pytest.approx(built + asked)
    many, few = (dataclasses.replace(given, num_images=num) for num in (200_001, 200_000))
    by_itself, exact = (EmbedConfig(source="embeddings", neighbor_search=way) for way in ("auto", "exact"))
    assert seconds("embed", by_itself, many) == seconds("embed", ivf, many) < seconds("embed", exact, many) / 4
    assert seconds("embed", by_itself, few) == seconds("embed", exact, few) < 10 * seconds("embed", by_itself, many)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert seconds("embed", by_itself, many) == seconds("embed", exact, many)


def test_each_method_of_select_takes_what_it_does_to_the_pool() -> None:
    def of(method: str, facts: PoolFacts = POOL, **options: Any) -> float:
        return seconds("select", SelectConfig(method=method, **options), facts)

    assert of("random") == pytest.approx(0.7 + 10_000 * 3e-6)
    more = dataclasses.replace(POOL, num_images=16_385)
    assert of("auto") == of("facility-location") == pytest.approx(0.7 + 10_000**2 * (1.5e-8 + 2e-9 * 176 / 99))
    assert of("auto", more) == pytest.approx(0.7 + 16_385 * (25e-6 + 9.6e-8 * 176))
    assert of("facility-location", more) == pytest.approx(0.7 + 16_385 * (15e-6 + 1.2e-7 * 176))
    assert of("typiclust") == pytest.approx(0.7 + 10_000 * (14e-6 + 6.3e-8 * 176 + 25e-6 + 1.1e-7 * 176))
    pairs = 10_000 * 1_000 * (5e-9 + 2.7e-10 * 176)
    assert of("k-center") == of("herding") == pytest.approx(of("random") + pairs)
    assert of("badge") == pytest.approx(of("random") + 10_000 * 1_000 * (5e-9 + 2.7e-10 * 200))
    assert of("k-center", blocks=4) == pytest.approx(of("random") + pairs / 4)
    assert of("k-center", budget="500") == pytest.approx(of("random") + pairs / 2)
    assert of("k-center", budget="20000") == of("k-center", budget="1.0")
    assert of("margin") == of("entropy") == pytest.approx(of("random") + 1.5)
    assert of("uherding") == pytest.approx(of("auto") + 1.5)
    assert of("dropquery") == pytest.approx(0.7 + 10_000 * (6e-6 + 6e-8 * 176) + 1.5)
    large = dataclasses.replace(POOL, num_images=1_200_000, dims=768)
    assert of("k-center", large) > 8 * 3600


def test_the_hard_rate_is_judged_or_searched_window_by_window() -> None:
    given = SelectConfig(method="elfs", hard_rate="0.3", budget="0.3")
    assert seconds("select", given) == pytest.approx(0.7 + 10_000 * 5.5e-6)
    found = dataclasses.replace(given, hard_rate=None)
    judged = 2e-9 * 176 * 8 * 3_000 * 4_096 / 99
    assert seconds("select", found) == pytest.approx(seconds("select", given) + judged)
    search = dataclasses.replace(given, hard_rate="search")
    on_images = dataclasses.replace(POOL, dynamics=DynamicsConfig(recipe="small"))
    window = 0.00097 * (600 * 64 + 10_000 / 3)
    assert seconds("select", search, on_images) == pytest.approx(seconds("select", given) + 8 * window)
    each = 6 * 32 * (176 + 10) / 33e9 + 8e-9 * 10
    window = max(600 * 256 * each, 600 * 1.5e-3) + each * 10_000 / 3
    assert seconds("select", search) == pytest.approx(seconds("select", given) + 8 * window)
    many = dataclasses.replace(POOL, found_clusters=900)
    each = 6 * 32 * (176 + 900) / 33e9 + 8e-9 * 900
    window = 600 * 256 * each + each * 10_000 / 3
    assert seconds("select", search, many) == pytest.approx(seconds("select", given) + 8 * window)
    unknown = dataclasses.replace(POOL, dynamics=DynamicsConfig(network="resnet50"))
    assert stage_cost("select", search, unknown, speed=1.0, cores=1).seconds is None


def test_a_linear_network_goes_to_its_minimum_in_some_steps() -> None:
    linear = dataclasses.replace(RECIPES["small"], network="linear", iterations=200)

    def of(num_learned: int, **changes: Any) -> float:
        recipe = dataclasses.replace(linear, **changes)
        found = training_seconds(recipe, POOL, num_learned=num_learned, num_asked=3_000)
        assert found is not None
        return found

    each = 6 * 176 * 10 / 10e9
    assert of(100) == pytest.approx(40 * 1.5e-3 + 1_000 * each)
    assert of(10_000) == pytest.approx(40 * 10_000 * each + 1_000 * each)
    assert of(10_000, iterations=5) == pytest.approx(5 * 10_000 * each + 1_000 * each)


def test_the_graph_looks_for_neighbours_of_what_may_point_one_way() -> None:
    config = ClusterConfig(method="graph", clusters=10)
    centred = dataclasses.replace(POOL, may_point_one_way=False)
    anew = seconds("embed", EmbedConfig(source="embeddings"), dataclasses.replace(POOL, image_side=None))
    assert seconds("cluster", config) == pytest.approx(seconds("cluster", config, centred) + anew)
    kmeans = dataclasses.replace(config, method="kmeans")
    assert seconds("cluster", kmeans) == seconds("cluster", kmeans, centred)


@pytest.mark.parametrize(("encoder", "may"), [("patches", False), ("pixels", True)])
def test_only_patches_centres_its_embeddings(encoder: str, may: bool, workspace: Path) -> None:
    source = "synthetic:clean,images=60,test=0,size=12"
    execute("embed", workspace, EmbedConfig(source=source, encoder=encoder, neighbors=5), Runtime(devices="cpu"))
    assert facts_of(workspace).may_point_one_way == may


def test_label_asks_as_many_heads_as_label() -> None:
    def of(label: LabelConfig, **cluster: Any) -> float:
        return seconds("label", label, dataclasses.replace(POOL, cluster=ClusterConfig(clusters=10, **cluster)))

    flops = 2 * (256 * 176 + 128 * (256 + 10))
    each = flops / 99e9
    assert of(LabelConfig(), method="temi") == pytest.approx(0.7 + 10_000 * (16e-6 + 7 * 2e-6 + 8 * each))
    assert of(LabelConfig(head=2), method="temi") == of(LabelConfig()) == pytest.approx(0.7 + 10_000 * (16e-6 + each))
    own = 2 * 176 * 10 / 99e9
    assert of(LabelConfig(), method="kmeans") == pytest.approx(0.7 + 10_000 * (16e-6 + own))
    assert of(LabelConfig(), method="turtle") == pytest.approx(0.7 + 10_000 * (16e-6 + 7 * 2e-6 + 8 * own))


@pytest.mark.parametrize("stage", STAGES)
def test_on_a_gpu_memory_and_disk_are_said(stage: str) -> None:
    config, large = calls()[stage], dataclasses.replace(POOL, num_images=30_000)
    on_gpu = stage_cost(stage, config, dataclasses.replace(large, on_cpu=False), speed=1.0, cores=1)
    on_cpu = stage_cost(stage, config, large, speed=1.0, cores=1)
    assert on_gpu.seconds is None
    assert on_gpu.memory_bytes >= on_cpu.memory_bytes > 1e9
    assert on_gpu.disk_bytes >= on_cpu.disk_bytes > 0


@pytest.mark.parametrize(
    ("stage", "config", "way"),
    [
        ("embed", EmbedConfig(source="folder", encoder="lite"), cheaper.than_encoder("lite")),
        ("embed", EmbedConfig(source="folder", encoder="resnet50"), cheaper.than_encoder("resnet50")),
        ("embed", EmbedConfig(source="folder"), cheaper.FEWER_IMAGES),
        ("embed", EmbedConfig(source="folder", encoder="pixels"), cheaper.than_exact_neighbors()),
        ("embed", EmbedConfig(source="folder", encoder="pixels", neighbor_search="ivf"), cheaper.FEWER_IMAGES),
        ("cluster", ClusterConfig(), cheaper.CLUSTER_GRAPH),
        ("cluster", ClusterConfig(clusters=1000), cheaper.CLUSTER_HEADS),
        ("cluster", ClusterConfig(method="turtle"), cheaper.CLUSTER_TURTLE),
        ("cluster", ClusterConfig(method="kmeans"), None),
        ("label", LabelConfig(), None),
        ("dynamics", DynamicsConfig(), cheaper.EMBEDDING_PROXIES),
        ("dynamics", DynamicsConfig(recipe="cifar"), cheaper.IMAGE_PROXIES),
        ("select", SelectConfig(), None),
        ("select", SelectConfig(method="badge"), cheaper.PAIRWISE),
        ("select", SelectConfig(method="ccs", hard_rate="search"), cheaper.HARD_RATE_SEARCH),
        ("select", SelectConfig(method="ccs"), None),
    ],
)
def test_what_takes_less(stage: str, config: StageConfig, way: str | None) -> None:
    facts = dataclasses.replace(POOL, num_images=40_000)
    assert stage_cost(stage, config, facts, speed=1.0, cores=1).cheaper == way


@pytest.mark.parametrize("dims", [64, 176, 768, 1280])
@pytest.mark.parametrize("clusters", [2, 10, 30, 100, 300, 1000])
@pytest.mark.parametrize("side", [None, 8, 32])
def test_the_next_larger_pool_takes_neither_far_more_nor_far_less(dims: int, clusters: int, side: int | None) -> None:
    """What is done in less than 20 seconds may differ more: proxies on the images of small pools do.

    So may the dynamics of clusters of less than ten images.
    """
    stages = {"cluster": ClusterConfig(clusters=clusters), "dynamics": DynamicsConfig()}
    sizes = [round(1_000 * 1.05**step) for step in range(170)]
    assert sizes[-1] > 3_000_000
    for stage, config in stages.items():
        pools = [PoolFacts(num_images=num, image_side=side, dims=dims, num_clusters=clusters) for num in sizes]
        fewest = 10 * clusters if stage == "dynamics" else 1
        said = [max(20.0, seconds(stage, config, pool)) for pool in pools if pool.num_images >= fewest]
        steps = [after / before for before, after in itertools.pairwise(said)]
        assert 1 / LARGEST_STEP < min(steps) <= max(steps) < LARGEST_STEP
    for pool in pools[::10]:
        more = dataclasses.replace(pool, num_clusters=clusters + max(1, clusters // 20), dims=dims + dims // 20)
        grown = ClusterConfig(clusters=more.num_clusters)
        step = seconds("cluster", grown, more) / seconds("cluster", stages["cluster"], pool)
        assert 1 / LARGEST_STEP < step < LARGEST_STEP


def test_the_speed_of_a_core_is_that_of_a_product_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    clock = time.thread_time

    def thread_time() -> float:
        seen.append(torch.get_num_threads())
        return clock()

    monkeypatch.setattr(time, "thread_time", thread_time)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert 0.01 < core_speed() < 100
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_counting_clusters_takes_less_of_small_pools_and_heads_take_memory() -> None:
    small, large = (dataclasses.replace(POOL, num_images=n, num_clusters=None) for n in (96, 96_000))
    asked = ClusterConfig(clusters=10)
    assert seconds("cluster", ClusterConfig(), small) - seconds("cluster", asked, small) == pytest.approx(0.16)
    assert seconds("cluster", ClusterConfig(), large) - seconds("cluster", asked, large) == pytest.approx(3)
    few, many = (stage_cost("cluster", ClusterConfig(heads=h), POOL, speed=1.0, cores=1) for h in (10, 1_000))
    assert many.memory_bytes - few.memory_bytes == 7 * (many.disk_bytes - few.disk_bytes)


def test_what_patches_learns_from_is_in_memory_twice_and_bounded() -> None:
    def memory(encoder: str, num_images: int, side: int) -> int:
        facts = dataclasses.replace(POOL, num_images=num_images, image_side=side)
        return stage_cost("embed", EmbedConfig(encoder=encoder), facts, speed=1.0, cores=1).memory_bytes

    for num_images, side, learned_from in ((300, 8, 300 * 16**2), (20_000, 500, 5_000 * 64**2)):
        assert memory("patches", num_images, side) - memory("pixels", num_images, side) == 24 * learned_from


def test_what_is_read_of_a_folder(tmp_path: Path) -> None:
    for number in range(9):
        Image.new("L", (40 + number, 30), number).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    facts = facts_before_embed(EmbedConfig(source="folder"), tmp_path)
    assert facts is not None
    assert (facts.num_images, facts.image_side, facts.num_clusters, facts.dims) == (10, 30, None, None)
    assert facts.read_seconds > 0
    limited = facts_before_embed(EmbedConfig(source="folder", limit=4), tmp_path)
    assert limited == dataclasses.replace(facts, num_images=4, read_seconds=limited.read_seconds) if limited else False


@pytest.mark.parametrize("name", ["own.npy", "own.safetensors"])
def test_what_is_read_of_embeddings(tmp_path: Path, name: str) -> None:
    values = np.zeros((7, 5), dtype=np.float16)
    np.save(tmp_path / "own.npy", values)
    save_file({"embeddings": values}, tmp_path / "own.safetensors")
    config = EmbedConfig(source="embeddings", embeddings=str(tmp_path / name))
    assert facts_before_embed(config, None) == PoolFacts(num_images=7, image_side=None, dims=5)
    limited = dataclasses.replace(config, limit=4)
    assert facts_before_embed(limited, None) == PoolFacts(num_images=4, image_side=None, dims=5)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", (7,), (0, 5), (7, 0)])
def test_nothing_is_said_of_what_cannot_be_read(tmp_path: Path, content: bytes | tuple[int, ...]) -> None:
    place = tmp_path / "own.npy"
    if isinstance(content, tuple):
        np.save(place, np.zeros(content))
    else:
        place.write_bytes(content)
    assert facts_before_embed(EmbedConfig(source="embeddings", embeddings=str(place)), None) is None
    assert facts_before_embed(EmbedConfig(source="folder"), tmp_path / "absent") is None
    assert facts_before_embed(EmbedConfig(source="folder"), None) is None
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert facts_before_embed(EmbedConfig(source="folder"), tmp_path / "text") is None


@pytest.mark.slow
def test_the_disk_is_what_a_run_leaves(tmp_path: Path) -> None:
    workspace, configs = tmp_path / "w", calls()
    said = chain_costs(workspace, None, configs, list(configs))
    for stage, config in configs.items():
        execute(stage, workspace, config, Runtime(devices="cpu", num_workers=0))
    left = sum(path.stat().st_size for path in workspace.rglob("*.safetensors"))
    assert 0.4 < sum(cost.disk_bytes for cost in said.values()) / left < 2.5
    held = facts_of(workspace)
    assert (held.num_images, held.image_side) == (60, 12)
    assert 0 < (held.dims or 0) <= 176
    assert list(chain_costs(workspace, None, configs, ["score"])) == ["score"]
    assert chain_costs(workspace, None, configs, []) == {}


@pytest.mark.slow
def test_a_stage_alone_goes_by_what_made_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "core_speed", lambda: 1.0)
    execute("embed", tmp_path, calls()["embed"], Runtime(devices="cpu", num_workers=0))
    heads = ClusterConfig(clusters=3, heads=3, epochs=1)
    execute("cluster", tmp_path, heads, Runtime(devices="cpu"))
    found = chain_costs(tmp_path, None, {"label": LabelConfig()}, ["label"])["label"]
    facts = dataclasses.replace(facts_of(tmp_path), cluster=heads)
    assert found == stage_cost("label", LabelConfig(), facts, speed=1.0, cores=1)
    assert (found.seconds or 0) > seconds("label", LabelConfig(head=0), facts)


def test_labels_are_of_as_many_clusters_as_are_asked_for_found_or_drawn(tmp_path: Path) -> None:
    unknown = dataclasses.replace(POOL, num_clusters=None)
    asked = dataclasses.replace(POOL, cluster=ClusterConfig(clusters=500))
    found = dataclasses.replace(asked, found_clusters=300)
    assert [facts.labelled_clusters for facts in (unknown, POOL, asked, found)] == [10, 10, 500, 300]
    for facts in (unknown, asked, found):
        each = 64 * (6 * 32 * (176 + facts.labelled_clusters) / 33e9 + 8e-9 * facts.labelled_clusters)
        assert seconds("dynamics", DynamicsConfig(), facts) == pytest.approx(1 + 20 * 10_000 * each)
    own = tmp_path / "own.npy"
    np.save(own, np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32))
    chained = calls() | {"embed": EmbedConfig(source="embeddings", embeddings=str(own), neighbors=10)}
    chained |= {"dynamics": DynamicsConfig(epochs=100)}
    many = chained | {"cluster": ClusterConfig(clusters=300)}
    few, more = (chain_costs(tmp_path / "w", None, configs, STAGES) for configs in (chained, many))
    assert (more["dynamics"].seconds or 0) > 5 * (few["dynamics"].seconds or 0)


@pytest.mark.slow
def test_a_number_of_clusters_that_was_found_counts_until_it_is_found_anew(tmp_path: Path) -> None:
    own, workspace = tmp_path / "own.npy", tmp_path / "w"
    np.save(own, np.eye(60, dtype=np.float32).repeat(4, axis=0))
    embed = EmbedConfig(source="embeddings", embeddings=str(own), neighbors=3)
    execute("embed", workspace, embed, Runtime(devices="cpu"))
    execute("cluster", workspace, ClusterConfig(method="kmeans", clusters=60), Runtime(devices="cpu"))
    configs: dict[str, StageConfig] = {"cluster": ClusterConfig(), "dynamics": DynamicsConfig(epochs=1000)}
    alone, anew = (chain_costs(workspace, None, configs, runs)["dynamics"] for runs in (["dynamics"], list(configs)))
    assert (alone.seconds or 0) > 2 * (anew.seconds or 0)


def test_a_damaged_workspace_is_left_to_who_reads_it(tmp_path: Path) -> None:
    execute("embed", tmp_path, calls()["embed"], Runtime(devices="cpu", num_workers=0))
    assert list(chain_costs(tmp_path, None, calls(), ["cluster"])) == ["cluster"]
    (tmp_path / "embeddings.safetensors").write_bytes(b"damaged")
    assert chain_costs(tmp_path, None, calls(), ["cluster"]) == {}
