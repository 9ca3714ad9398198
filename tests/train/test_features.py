"""Rows of the embeddings as network inputs."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elfs.data.batch_part import BatchPart
from elfs.data.training_images import Subset
from elfs.train import features as module
from elfs.train.classifier import predict
from elfs.train.features import Features, centring, standardization
from elfs.workspace.tensors import RowArray

CPU = torch.device("cpu")


@pytest.fixture
def embeddings() -> NDArray[np.float32]:
    values = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    values[:, 2] = 7.5
    return values


ROWS = np.array([3, 40, 5, 6, 49, 0, 11], dtype=np.int64)


def test_standardization_agrees_with_numpy(embeddings: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", 3)
    mean, inverse = standardization(embeddings, ROWS)
    chosen = embeddings[ROWS].astype(np.float64)
    expected = 1 / chosen.std(axis=0)[[0, 1, 3]]
    np.testing.assert_allclose(mean.numpy(), chosen.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(inverse.numpy()[[0, 1, 3]], expected, rtol=1e-6)
    assert inverse[2] == 1  # constant: nothing to scale


def test_standardised_features_have_mean_0_and_deviation_1(embeddings: NDArray[np.float32]) -> None:
    mean, inverse = standardization(embeddings, ROWS)
    found = Features(embeddings, ROWS, CPU, mean=mean, inverse_deviation=inverse).take(torch.arange(len(ROWS)))
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.tensor([1.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_streamed_features_equal_those_in_memory(
    embeddings: NDArray[np.float32], sharded: bool, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = embeddings.astype(dtype)
    stored = RowArray([values[:20], values[20:]]) if sharded else values
    mean, inverse = standardization(stored, ROWS)
    in_memory = Features(stored, ROWS, CPU, mean=mean, inverse_deviation=inverse)
    monkeypatch.setattr(module, "_IN_MEMORY_BYTES", len(ROWS) * 4 * 4 - 1)
    streamed = Features(stored, ROWS, CPU, mean=mean, inverse_deviation=inverse)
    assert (in_memory._cache is None, streamed._cache is None) == (False, True)
    positions = torch.tensor([6, 0, 0, 3])
    expected = (values[ROWS[positions.numpy()]].astype(np.float32) - mean.numpy()) * inverse.numpy()
    np.testing.assert_allclose(in_memory.take(positions).numpy(), expected, rtol=1e-6)
    assert torch.equal(in_memory.take(positions), streamed.take(positions))


def test_features_without_statistics_are_the_embeddings(embeddings: NDArray[np.float32]) -> None:
    features = Features(embeddings, ROWS, CPU)
    assert (len(features), features.dim) == (7, 4)
    np.testing.assert_array_equal(features.take(torch.arange(7)).numpy(), embeddings[ROWS])


@pytest.mark.parametrize(("batch_size", "sizes"), [(3, [3, 2, 2]), (100, [7]), (6, [4, 3])])
def test_batches_cover_the_order_once(embeddings: NDArray[np.float32], batch_size: int, sizes: list[int]) -> None:
    features = Features(embeddings, ROWS, CPU)
    order = torch.tensor([6, 5, 4, 3, 2, 1, 0])
    found = list(features.batches(order, batch_size=batch_size, augment=True, generator=torch.Generator(), device=CPU))
    assert [len(positions) for positions, _ in found] == sizes
    assert torch.equal(torch.cat([positions for positions, _ in found]), order)
    assert torch.equal(torch.cat([batch for _, batch in found]), features.take(order))


def test_no_positions_are_no_batch(embeddings: NDArray[np.float32]) -> None:
    """As for images, so that a rank for which no test image is left predicts nothing."""
    none = torch.arange(0)
    features = Features(embeddings, ROWS, CPU)
    for inputs in (features, Subset(features, none)):
        found = inputs.batches(none, batch_size=3, augment=False, generator=torch.Generator(), device=CPU)
        assert list(found) == []
    predicted = predict(torch.nn.Linear(4, 2), Subset(features, none), batch_size=3, device=CPU)
    assert (predicted.shape, predicted.dtype) == ((0,), torch.int64)


def test_shares_of_batches_make_up_the_batches(embeddings: NDArray[np.float32]) -> None:
    features = Features(embeddings, ROWS, CPU)
    order = torch.tensor([6, 5, 4, 3, 2, 1, 0])
    parts = []
    for rank in range(3):
        found = features.batches(
            order, batch_size=5, augment=True, generator=torch.Generator(), device=CPU, part=BatchPart(rank, 3)
        )
        parts.append([(positions.tolist(), batch) for positions, batch in found])
    assert [[positions for positions, _ in part] for part in parts] == [[[6, 5], [2]], [[4], [1]], [[3], [0]]]
    for part in parts:
        assert all(torch.equal(batch, features.take(torch.tensor(positions))) for positions, batch in part)
    (positions, batch), _ = features.batches(
        order[:4], batch_size=2, augment=True, generator=torch.Generator(), device=CPU, part=BatchPart(2, 3)
    )
    assert (len(positions), batch.shape) == (0, (1, 4))


def test_centred_features_keep_their_size_beside_each_other() -> None:
    values = np.random.default_rng(0).normal([5, -2, 0], [3, 1, 0.1], (4000, 3)).astype(np.float32)
    rows = np.arange(0, 4000, 2)
    mean, inverse = centring(values, rows)
    centred = (torch.from_numpy(values[rows]).double() - mean.double()) * inverse.double()
    torch.testing.assert_close(centred.mean(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-5, rtol=0)
    variance = centred.var(dim=0, correction=0)
    assert float(variance.mean()) == pytest.approx(1, abs=1e-5)
    expected = torch.from_numpy(values[rows].astype(np.float64).var(axis=0))
    torch.testing.assert_close(variance / variance.sum(), expected / expected.sum(), atol=1e-5, rtol=0)


def test_equal_rows_are_centred() -> None:
    mean, inverse = centring(np.full((5, 2), 7, np.float32), np.arange(5))
    assert mean.tolist() == [7, 7]
    assert inverse.tolist() == [1, 1]
