"""Several ranks train what one does: every batch is cut, every sample counts once, the result is the same."""

import dataclasses
import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elfs.data.batch_part import BatchPart
from elfs.errors import StorageError, UsageError
from elfs.models.heads import ClusterHeads
from elfs.models.networks import build_network
from elfs.parallel.place import Place
from elfs.parallel.ranks import ALONE, Ranks
from elfs.parallel.shared_batch_norm import SharedBatchNorm
from elfs.train import classifier, clustering
from elfs.train.checkpoint import load_checkpoint, save_checkpoint
from elfs.train.classifier import record_dynamics, train_on_labels
from elfs.train.clustering import HeadSettings, train_heads
from elfs.train.features import Features
from elfs.train.fit import Fit
from elfs.train.recipes import RECIPES
from tests.ranks import in_ranks

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
NUM_ROWS, NUM_DIMS, NUM_CLASSES, NUM_EPOCHS = 23, 4, 3, 4
"""23 rows in batches of at most 10 are batches of 8, 8 and 7: neither 2 nor 3 divides all of them."""

LOSSES = ("temi", "wmi", "pmi", "scan")
SETTINGS = HeadSettings(
    clusters=4,
    heads=2,
    hidden=7,
    bottleneck=3,
    loss="temi",
    epochs=NUM_EPOCHS,
    warmup_epochs=1,
    batch_size=10,
    learning_rate=0.01,
    min_learning_rate=1e-4,
    weight_decay=1e-2,
    beta=0.6,
    temperature=0.1,
    teacher_momentum=0.75,
    prior_momentum=0.9,
    seed=3,
)

SLOW: dict[str, Any] = {"learning_rate": 5e-4, "warmup_epochs": 0}
"""For SGD: the normalisation of the bottleneck makes the first gradients large."""

Arrays = dict[str, np.ndarray]


class Steps:
    """A task that counts, and acts like Ctrl-C after so many steps."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.stop_after, self.count = stop_after, 0

    def advance(self, count: int = 1, note: str = "") -> None:
        self.count += count
        if self.count >= self.stop_after:
            raise KeyboardInterrupt

    def resume(self, count: int, note: str = "") -> None:
        self.advance(count, note)


def features() -> Features:
    values = np.random.default_rng(0).normal(size=(NUM_ROWS, NUM_DIMS)).astype(np.float32)
    return Features(values, np.arange(NUM_ROWS), CPU)


def neighbors_of(positions: Tensor) -> Tensor:
    return (positions.unsqueeze(1) + torch.arange(1, 4)) % NUM_ROWS


def network(*, norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(6) if norm else nn.Tanh()
    return nn.Sequential(nn.Linear(NUM_DIMS, 6), middle, nn.Linear(6, NUM_CLASSES))


def fit(ranks: Ranks = ALONE, *, norm: bool = False, sync: bool = True, **changes: Any) -> Fit:
    recipe = dataclasses.replace(RECIPES["small"], **({"batch_size": 10} | changes))
    labels = torch.arange(NUM_ROWS) % NUM_CLASSES
    return Fit(network(norm=norm), features(), labels, recipe, 0, CPU, ranks=ranks, sync_batch_norm=sync)


def state_of(module: nn.Module) -> Arrays:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def sgd(student: ClusterHeads, settings: HeadSettings) -> torch.optim.SGD:
    return torch.optim.SGD(student.parameters(), lr=settings.learning_rate)


def heads(ranks: Ranks, path: Path, stop_after: int = 10**9, *, plain: bool = False, **changes: Any) -> dict[str, Any]:
    """Train heads, by SGD if `plain`; return teacher, loss of each head, and what the teacher makes of the images."""
    settings, original = dataclasses.replace(SETTINGS, **changes), clustering._adamw
    task = Steps(stop_after)
    try:
        clustering._adamw = sgd if plain else original  # type: ignore[assignment]
        found = train_heads(
            features(), neighbors_of(torch.arange(NUM_ROWS)), settings, checkpoint=path, task=task, ranks=ranks
        )
    except KeyboardInterrupt:
        return {}
    finally:
        clustering._adamw = original
    labels = found.teacher(features().take(torch.arange(NUM_ROWS))).argmax(dim=2)
    return {"teacher": found.teacher.to_tensors(), "loss": found.loss.numpy(), "labels": labels.numpy()}


def dynamics(ranks: Ranks, path: Path, stop_after: int = 10**9, **changes: Any) -> dict[str, Any]:
    """Record dynamics; return what this rank stored, trained on and ended with."""
    what, stored, seen = fit(ranks, **changes), {}, []
    original = Fit.epoch

    def watched(self: Fit, number: int) -> Any:
        for batch in original(self, number):
            seen.append((number, batch[0].tolist(), len(batch[1])))
            yield batch

    Fit.epoch = watched  # type: ignore[method-assign]
    try:
        agreement = record_dynamics(
            what,
            NUM_EPOCHS,
            path,
            lambda epoch, traces: stored.update({epoch: {name: trace.numpy() for name, trace in traces.items()}}),
            Steps(stop_after),
        )
    except KeyboardInterrupt:
        agreement = float("nan")
    finally:
        Fit.epoch = original  # type: ignore[method-assign]
    return {"stored": stored, "seen": seen, "agreement": agreement, "network": state_of(what.network)}


def error_of(function: Any, *arguments: Any, **options: Any) -> str:
    try:
        function(*arguments, **options)
    except (UsageError, StorageError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def iterations(ranks: Ranks, **changes: Any) -> Arrays:
    what = fit(ranks, **changes)
    train_on_labels(what, 7, Steps())
    assert not what.network.training
    return state_of(what.network)


def probe(ranks: Ranks) -> Arrays:
    layer = build_network("linear", num_classes=NUM_CLASSES, image_size=1, dim=NUM_DIMS, seed=0)
    what = dataclasses.replace(fit(ranks, network="linear"), network=layer)
    train_on_labels(what, 50, Steps())
    return state_of(layer)


def unlike_checkpoints(ranks: Ranks, path: Path) -> None:
    """Give the first rank a checkpoint that the others do not have."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    if ranks.is_first:
        save_checkpoint(path, 3, {"network": module}, optimizer, {})
    load_checkpoint(path if ranks.is_first else path.with_name("none"), {"network": module}, optimizer, ranks)


def everything(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Do all that the tests look at."""
    found: dict[str, Any] = {loss: heads(ranks, folder / loss, plain=True, **SLOW, loss=loss) for loss in LOSSES}
    found["small batches"] = heads(ranks, folder / "small", plain=True, **SLOW, epochs=1, batch_size=2)
    found["small scan"] = heads(ranks, folder / "small-scan", plain=True, **SLOW, epochs=1, batch_size=2, loss="scan")
    found["one epoch"] = heads(ranks, folder / "one", plain=True, **SLOW, epochs=1)
    found["adamw"] = heads(ranks, folder / "adamw")
    found["dynamics"] = dynamics(ranks, folder / "dynamics")
    found["small dynamics"] = dynamics(ranks, folder / "small-dynamics", batch_size=2)
    found["norm"] = dynamics(ranks, folder / "norm", norm=True)
    found["iterations"] = iterations(ranks)
    found["linear probe"] = probe(ranks)
    found["norm iterations"] = iterations(ranks, norm=True)
    found["own norm iterations"] = iterations(ranks, norm=True, sync=False)
    found["caveats"] = [
        fit(ranks, norm=norm, sync=sync).caveat for norm, sync in ((False, False), (True, True), (True, False))
    ]
    heads(ranks, folder / "stopped-heads", stop_after=7)
    dynamics(ranks, folder / "stopped", stop_after=7)
    wild: dict[str, Any] = {"learning_rate": 1e38}
    found["refusals"] = [
        error_of(record_dynamics, fit(ranks, **wild), 3, folder / "wild", lambda *_: None, Steps()),
        error_of(train_on_labels, fit(ranks, **wild), 9, Steps()),
        error_of(heads, ranks, folder / "wild-heads", warmup_epochs=0, epochs=6, **wild),
    ]
    found["unlike"] = error_of(unlike_checkpoints, ranks, folder / "checkpoint")
    return found


def resumed(ranks: Ranks, folder: Path) -> dict[str, Any]:
    return {"heads": heads(ranks, folder / "stopped-heads"), "dynamics": dynamics(ranks, folder / "stopped")}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel")


def folder_of(base: Path, size: int) -> Path:
    folder = base / str(size)
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def alone(base: Path) -> dict[str, Any]:
    return everything(ALONE, folder_of(base, 1))


@pytest.fixture(scope="module", params=[2, 3])
def together(base: Path, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What each of 2 or 3 ranks found."""
    return in_ranks(request.param, everything, folder_of(base, request.param))


def assert_close(found: Arrays, expected: Arrays, atol: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "atol"),
    [
        *((kind, 3e-6) for kind in (*LOSSES, "small batches", "small scan", "one epoch")),
        ("adamw", 2e-5),  # it divides by the size of the gradient: where that is 0 but for rounding, rounding shows
    ],
)
def test_heads_are_those_of_one_rank(
    alone: dict[str, Any], together: list[dict[str, Any]], kind: str, atol: float
) -> None:
    for rank in together:
        found, expected, first = rank[kind], alone[kind], together[0][kind]
        assert_close(found["teacher"], expected["teacher"], atol)
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=0, atol=atol)
        np.testing.assert_array_equal(found["labels"], expected["labels"])
        assert all(np.array_equal(value, first["teacher"][name]) for name, value in found["teacher"].items())


@pytest.mark.parametrize("kind", [*LOSSES, "small batches", "small scan", "adamw"])
def test_heads_were_trained_at_all(alone: dict[str, Any], kind: str) -> None:
    """So that equality means something."""
    assert np.abs(alone[kind]["teacher"]["hidden_bias"]).max() > 1e-4


def test_last_layer_is_frozen_in_the_first_epoch(together: list[dict[str, Any]]) -> None:
    for rank in together:
        assert (rank["one epoch"]["teacher"]["gain"] == 1).all()
        assert np.abs(rank["one epoch"]["teacher"]["hidden_bias"]).max() > 1e-4


@pytest.mark.parametrize("kind", ["dynamics", "small dynamics", "norm"])
def test_every_sample_is_trained_on_exactly_once_an_epoch(together: list[dict[str, Any]], kind: str) -> None:
    for epoch in range(NUM_EPOCHS):
        shares = [own for rank in together for number, own, _ in rank[kind]["seen"] if number == epoch]
        assert sorted(itertools.chain.from_iterable(shares)) == list(range(NUM_ROWS))
    assert all(length == max(1, len(own)) for rank in together for _, own, length in rank[kind]["seen"])


@pytest.mark.parametrize("kind", ["dynamics", "small dynamics", "norm"])
def test_traces_are_those_of_one_rank(alone: dict[str, Any], together: list[dict[str, Any]], kind: str) -> None:
    first, *others = (rank[kind] for rank in together)
    assert sorted(first["stored"]) == list(range(NUM_EPOCHS))
    assert all(rank["stored"] == {} for rank in others)
    for epoch, expected in alone[kind]["stored"].items():
        for name, trace in first["stored"][epoch].items():
            assert (trace.dtype, trace.shape) == (expected[name].dtype, (NUM_ROWS,))
            np.testing.assert_allclose(trace, expected[name], rtol=2e-3, atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(first["stored"][epoch]["correct"], expected["correct"])
    assert {rank[kind]["agreement"] for rank in together} == {alone[kind]["agreement"]}


@pytest.mark.parametrize("kind", ["dynamics", "small dynamics", "norm"])
def test_proxy_is_that_of_one_rank(alone: dict[str, Any], together: list[dict[str, Any]], kind: str) -> None:
    for rank in together:
        assert_close(rank[kind]["network"], alone[kind]["network"], atol=1e-5)


@pytest.mark.parametrize("kind", ["iterations", "linear probe", "norm iterations"])
def test_network_on_a_coreset_is_that_of_one_rank(
    alone: dict[str, Any], together: list[dict[str, Any]], kind: str
) -> None:
    for rank in together:
        assert_close(rank[kind], alone[kind], atol=1e-5)


def test_all_ranks_end_with_the_running_statistics_of_the_first(together: list[dict[str, Any]]) -> None:
    for found in zip(*((rank["own norm iterations"], rank["norm"]["network"]) for rank in together), strict=True):
        for state in found:
            assert np.abs(state["1.running_mean"]).max() > 0
            assert all(np.array_equal(value, found[0][name]) for name, value in state.items())


def test_batch_statistics_of_shares_are_pointed_out(alone: dict[str, Any], together: list[dict[str, Any]]) -> None:
    assert alone["caveats"] == [None, None, None]
    for rank in together:
        plain, shared, own = rank["caveats"]
        assert plain is shared is None
        assert own.startswith(f"each of the {len(together)} ranks takes the batch statistics of its own part, ")


def test_stopped_training_goes_on_with_another_number_of_ranks(
    base: Path, alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    """Two epochs of three steps and one step by 2 or 3 ranks, the rest by others: the same as without a stop."""
    source = folder_of(base, len(together))
    for size in (1, 3) if len(together) == 2 else (1,):
        folder = Path(shutil.copytree(source, base / f"{len(together)}-then-{size}"))
        found = [resumed(ALONE, folder)] if size == 1 else in_ranks(size, resumed, folder)
        for rank in found:
            assert_close(rank["heads"]["teacher"], alone["adamw"]["teacher"], atol=2e-5)
            np.testing.assert_allclose(rank["heads"]["loss"], alone["adamw"]["loss"], rtol=0, atol=2e-5)
            assert_close(rank["dynamics"]["network"], alone["dynamics"]["network"], atol=1e-5)
            assert rank["dynamics"]["agreement"] == alone["dynamics"]["agreement"]
        stored = found[0]["dynamics"]["stored"]
        assert sorted(stored) == [2, 3]
        for epoch, traces in stored.items():
            np.testing.assert_array_equal(traces["correct"], alone["dynamics"]["stored"][epoch]["correct"])


def test_all_ranks_refuse_alike(alone: dict[str, Any], together: list[dict[str, Any]]) -> None:
    diverged = (
        r"UsageError: training diverged in {}: the loss is (nan|inf) at learning rate .*\. Try --learning-rate .*"
    )
    heads_diverged = r"UsageError: the cluster heads diverged in epoch \d: the loss is not finite\. Try .*"
    patterns = [diverged.format(r"epoch \d"), diverged.format("9 steps"), heads_diverged]
    for rank in (alone, *together):
        assert all(re.fullmatch(pattern, said) for pattern, said in zip(patterns, rank["refusals"], strict=True))
    assert all(rank["refusals"] == together[0]["refusals"] for rank in together)


def test_ranks_that_find_other_checkpoints_are_refused(alone: dict[str, Any], together: list[dict[str, Any]]) -> None:
    pattern = (
        r"StorageError: rank 0 finds 3 finished epochs in .*, rank 1 finds 0: they have to see the same file sys.*"
    )
    assert all(re.fullmatch(pattern, rank["unlike"]) for rank in together)
    assert alone["unlike"] == ""


class TwoRanks(Ranks):
    """The first of two ranks that are not there."""

    def __init__(self) -> None:
        super().__init__(Place(0, 2, 0, 2, "", 0))

    def wait(self) -> None:
        pass

    def data_parallel(self, module: nn.Module) -> nn.Module:
        return module


@pytest.mark.parametrize(("asked", "size", "expected"), [(True, 2, True), (False, 2, False), (True, 1, False)])
def test_batch_statistics_are_shared_among_several(asked: bool, size: int, expected: bool) -> None:
    what = fit(TwoRanks() if size == 2 else ALONE, norm=True, sync=asked)
    assert what.shares_statistics is expected
    assert (what.caveat is None) == (expected or size == 1)


@pytest.mark.parametrize(
    ("sync", "batch_size", "smallest"), [(False, 4, 3), (False, 5, None), (True, 2, 1), (True, 3, None)]
)
def test_batches_too_small_for_batch_norm_are_refused(sync: bool, batch_size: int, smallest: int | None) -> None:
    """23 rows make batches of 3 and 4 (at most 4), of 4 and 5 (at most 5), of 1 and 2, of 2 and 3."""
    what = fit(TwoRanks(), norm=True, sync=sync, batch_size=batch_size)
    plain = dataclasses.replace(what, network=network())
    for harmless in (plain, dataclasses.replace(what, ranks=ALONE)):
        harmless.require_statistics()
    if smallest is None:
        what.require_statistics()
        return
    least = 2 if sync else 4
    message = rf"^batch norm needs batches of {least} images or more on 2 ranks, and there are batches of {smallest}\. "
    with pytest.raises(UsageError, match=message):
        what.require_statistics()


def test_training_begins_by_refusing_small_batches() -> None:
    what = fit(TwoRanks(), norm=True, batch_size=2)
    with pytest.raises(UsageError, match=r"Use fewer devices or a larger --batch-size\.$"):
        classifier._FitState(what, what.optimizer())


@pytest.mark.parametrize("shared", [False, True])
def test_layers_are_exchanged_where_statistics_are_shared(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fit, "shares_statistics", shared)
    called = classifier._FitState(fit(TwoRanks(), norm=True), fit().optimizer()).network
    assert isinstance(called[1], SharedBatchNorm) is shared  # type: ignore[index]


def test_one_rank_computes_what_the_mean_of_the_batch_gives_bit_for_bit() -> None:
    """The loss of a part is a sum over what the whole batch has; for the only part that is the mean."""
    for count in (1, 7, 10, 23):
        logits = torch.randn(count, 5, generator=torch.Generator().manual_seed(count), requires_grad=True)
        labels = torch.arange(count) % 5
        part = BatchPart().cut(labels)
        ours = nn.functional.cross_entropy(logits[: len(part)], part, reduction="sum") / (count / 1)
        mean = nn.functional.cross_entropy(logits, labels)
        assert torch.equal(ours, mean)
        assert torch.equal(torch.autograd.grad(ours, logits)[0], torch.autograd.grad(mean, logits)[0])
