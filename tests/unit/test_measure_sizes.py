"""Which sizes are timed for the plots, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from cortex_compile.compiler import measure_sizes as module
from cortex_compile.compiler.measure_sizes import choose_sizes, measure_sizes
from cortex_compile.compiler.tensor_sizes import Family
from cortex_compile.python_backend.manifest import Dimension

BATCH = Family((((0, 0), 0),), varied=True, is_batch=True)
LENGTH = Family((((0, 1), 0),), varied=True, is_batch=False)
CALL = (torch.zeros(2, 12),)


@pytest.mark.parametrize(
    ("dimension", "family", "sizes"),
    [
        (Dimension("batch", 0, 64), BATCH, (1, 2, 4, 8, 16, 32)),
        (Dimension("batch", 1, 3), BATCH, (1, 2, 3)),
        (Dimension("length", 1, 4096), LENGTH, (8, 12, 32, 128, 512)),
        (Dimension("length", 10, 100), LENGTH, (12, 32, 100)),
    ],
)
def test_sizes_are_round_proven_and_few(dimension: Dimension, family: Family, sizes: tuple[int, ...]) -> None:
    assert choose_sizes(dimension, family, CALL) == sizes


def curves(seen: list[tuple[int, ...]]) -> dict[str, list[int]]:
    def run(tensors: Sequence[torch.Tensor]) -> None:
        seen.append(tuple(tensors[0].shape))

    families = {"length": LENGTH, "batch": BATCH, "fixed": LENGTH}
    dimensions = (Dimension("length", 8, 32), Dimension("batch", 1, 4), Dimension("fixed", 7, 7))
    found = measure_sizes(run, run, CALL, families, dimensions, (), 1)
    assert all(point.eager_ms >= 0 and point.compiled_ms >= 0 for curve in found for point in curve.points)
    assert [curve.sample_size for curve in found] == [{"batch": 2, "length": 12}[curve.dimension] for curve in found]
    return {curve.dimension: [point.size for point in curve.points] for curve in found}


def test_each_dimension_varies_alone_and_the_batch_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 0.0)
    monkeypatch.setattr(module, "BUDGET_S", 60.0)
    monkeypatch.setattr(module, "BATCH_BUDGET_S", 60.0)
    seen: list[tuple[int, ...]] = []
    found = curves(seen)
    assert list(found.items()) == [("batch", [1, 2, 4]), ("length", [8, 12, 32])]
    assert set(seen) == {(1, 12), (2, 12), (4, 12), (2, 8), (2, 32)}


def test_without_time_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET_S", -1.0)
    monkeypatch.setattr(module, "BATCH_BUDGET_S", -1.0)
    seen: list[tuple[int, ...]] = []
    assert curves(seen) == {}
    assert seen == []
