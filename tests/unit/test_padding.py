"""Buckets and filling up: for any sizes, a call fits its bucket, and what is cut back is what was put in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cortex_compile.compiler.choose_buckets import STEP, choose_buckets
from cortex_compile.python_backend.manifest import Dimension, PaddedAxis, PaddingSpec, TensorSpec, Variant
from cortex_compile.python_backend.padding import Padding, bucket_for, padding_of
from cortex_compile.python_backend.remote_session import RemoteSession

sizes = st.integers(1, 5000)


@given(st.lists(sizes, min_size=1), sizes)
def test_each_size_has_a_bucket_that_is_not_much_larger(seen: list[int], largest: int) -> None:
    buckets = choose_buckets(seen, largest)
    assert list(buckets) == sorted(set(buckets))
    assert buckets[-1] == largest
    for size in range(1, largest + 1, max(1, largest // 50)):
        bucket = bucket_for(size, buckets)
        assert size <= bucket <= max(2 * size + STEP, STEP)
    for size in (each for each in seen if each <= largest):
        assert bucket_for(size, buckets) <= 1.25 * (size + STEP), "a sample's own size has a bucket near it"


@given(st.integers(0, 5000), st.lists(sizes))
def test_a_bucket_is_the_smallest_that_holds_a_size(size: int, buckets: list[int]) -> None:
    found = bucket_for(size, buckets)
    holding = [bucket for bucket in buckets if bucket >= size]
    assert found == (min(holding) if holding and size else size)


@st.composite
def paddings(draw: Any) -> tuple[Padding, list[np.ndarray[Any, Any]], int]:
    """A call of a mask and other tensors, each with the dimension at any axes, once or twice."""
    size = draw(st.integers(0, 6))
    arrays: list[np.ndarray[Any, Any]] = []
    axes: list[tuple[int, int, int]] = []
    for index in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
        for axis in draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=2)):
            offset = draw(st.integers(0, 2))
            shape[axis] = size + offset
            axes.append((index, axis, offset))
        dtype = draw(st.sampled_from([np.int64, np.float32, np.bool_, np.float16]))
        arrays.append(np.ones(shape, dtype))
    fills = {index: draw(st.integers(0, 9)) for index in range(1, len(arrays))}
    return Padding(tuple(axes), tuple(axes), 0, fills), arrays, size


@given(paddings(), st.integers(0, 9))
def test_what_is_filled_up_and_cut_back_is_as_it_was(
    made: tuple[Padding, list[np.ndarray[Any, Any]], int], more: int
) -> None:
    padding, arrays, size = made
    assert padding.size_of(arrays) == size
    filled = padding.fill_up(arrays, size + more)
    assert padding.size_of(filled) == size + more
    for before, after in zip(arrays, filled, strict=True):
        assert before.dtype == after.dtype
    assert int(filled[0].sum()) == arrays[0].size, "what was added to the mask is 0"
    for before, after in zip(arrays, padding.cut(filled, size), strict=True):
        np.testing.assert_array_equal(before, after)
        assert after.flags.c_contiguous
        assert after.flags.writeable


LENGTH = PaddingSpec("length", "mask", {"ids": 7}, (PaddedAxis("states", 1, 0),), 16, (4, 16))


def variant(batch: str | None = "batch") -> Variant:
    return Variant(
        name="v0",
        arguments="",
        argument_leaves=(),
        result="",
        result_leaves=(),
        inputs=(TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "int64", ("batch", "length"))),
        outputs=(TensorSpec("states", "int64", ("batch", "length")), TensorSpec("sum", "int64", ("batch",))),
        dimensions=(Dimension("batch", 0, 64), Dimension("length", 0, 32)),
        batch_dimension=batch,
        graph="model",
        paddings=(LENGTH,),
    )


class Core:
    """Stands for Triton: the ids, hidden by the mask, and their sum. ``asked`` are the ids as they came."""

    def __init__(self) -> None:
        self.asked: list[list[list[int]]] = []

    def __call__(self, model: str, inputs: dict[str, Any], outputs: tuple[str, ...]) -> list[Any]:
        assert (model, outputs) == ("model", ("states", "sum"))
        self.asked.append(inputs["ids"].tolist())
        hidden = inputs["ids"] * inputs["mask"]
        return [hidden, hidden.sum(1)]


def ask(core: Core, ids: list[list[int]], mask: list[list[int]], batch: str | None = "batch") -> list[Any]:
    arrays = [np.array(ids, np.int64), np.array(mask, np.int64)]
    found = [array.tolist() for array in RemoteSession(core, variant(batch)).run(arrays)]
    # torch's tensors, as they are on a GPU, are treated the same.
    other = Core()
    results = RemoteSession(other, variant(batch)).run([torch.from_numpy(array) for array in arrays])
    assert (other.asked, [tensor.tolist() for tensor in results]) == (core.asked[-1:], found)
    assert all(isinstance(tensor, torch.Tensor) and tensor.is_contiguous() for tensor in results)
    return found


def test_a_call_is_filled_up_to_its_bucket_and_its_results_cut_back() -> None:
    core = Core()
    assert ask(core, [[1, 2, 3], [4, 5, 6]], [[1, 1, 1], [1, 0, 0]]) == [[[1, 2, 3], [4, 0, 0]], [6, 4]]
    assert core.asked == [[[1, 2, 3, 7], [4, 5, 6, 7]]]


def test_a_call_that_needs_no_filling_goes_as_it_is() -> None:
    core = Core()
    exact, longer = list(range(1, 5)), list(range(1, 18))
    ask(core, [exact], [[1] * 4])
    ask(core, [longer], [[1] * 17])
    ask(core, [[]], [[]])
    assert core.asked == [[exact], [longer], [[]]]


@pytest.mark.parametrize("hidden", [[0, 0], [0, 1]])
def test_a_row_that_is_hidden_from_its_start_is_not_filled_up(hidden: list[int]) -> None:
    core = Core()
    ask(core, [[1, 2], [3, 4]], [[1, 1], hidden])
    assert core.asked == [[[1, 2], [3, 4]]]


def test_without_batches_nothing_is_filled_up() -> None:
    core = Core()
    ask(core, [[1, 2]], [[1, 1]], batch=None)
    assert core.asked == [[[1, 2]]]


def test_the_axes_of_a_dimension_are_found_by_its_name() -> None:
    longer = Variant(
        **{**vars(variant()), "inputs": (*variant().inputs, TensorSpec("past", "float32", (2, "length+1", "lengths")))}
    )
    assert padding_of(longer, LENGTH) == Padding(((0, 1, 0), (1, 1, 0), (2, 1, 1)), ((0, 1, 0),), 1, {0: 7})
