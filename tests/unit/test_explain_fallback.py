"""What is said of a call that runs eager: the argument, what it was, and what was proven."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cortex_compile.python_backend.calls import dump_spec
from cortex_compile.python_backend.explain_fallback import FallbackLog, explain_mismatch
from cortex_compile.python_backend.flatten_call import flatten_arguments
from cortex_compile.python_backend.manifest import CacheState, Dimension, PositionSpec, TensorSpec, Variant


def forward(ids: torch.Tensor, mask: torch.Tensor | None = None, mode: str = "mean", parts: Any = None) -> Any: ...


def variant(*args: Any, shapes: list[tuple[int | str, ...]], **kwargs: Any) -> Variant:
    """As if proven on this call; sizes named in ``shapes`` from 2 to 8."""
    call = flatten_arguments(args, kwargs)
    inputs = tuple(
        TensorSpec(name, str(tensor.dtype).removeprefix("torch."), shape)
        for name, tensor, shape in zip(("ids", "mask"), call.tensors, shapes, strict=False)
    )
    names = {size for shape in shapes for size in shape if isinstance(size, str) and "+" not in size}
    dimensions = tuple(Dimension(name, 2, 8) for name in sorted(names))
    return Variant("v0", dump_spec(call.spec), call.leaves, "", (), inputs, (), dimensions, None, "graph.onnx")


IDS = torch.ones(2, 7, dtype=torch.int64)
MASK = torch.ones(2, 8, dtype=torch.int64)
PROVEN = variant(IDS, mask=MASK, mode="mean", shapes=[("batch", "length"), ("batch", "length+1")])


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((IDS,), {"mask": MASK, "mode": "max"}, "argument mode is 'max', proven was 'mean'"),
        ((IDS,), {"mask": None, "mode": "mean"}, "argument mask is None, proven was a tensor"),
        ((IDS,), {"mask": MASK}, "argument mode is missing; every call that was proven had it"),
        ((IDS, MASK), {"mode": "mean"}, "argument mask (by position) was in no call that was proven"),
        (
            (IDS,),
            {"mask": MASK, "mode": "mean", "parts": [{"a": IDS}]},
            "argument parts[0]['a'] was in no call that was proven",
        ),
        (
            (IDS.float(),),
            {"mask": MASK, "mode": "mean"},
            "ids is float32[2, 7], proven was int64[2 to 8, 2 to 8]",
        ),
        (
            (IDS,),
            {"mask": MASK[0], "mode": "mean"},
            "mask is int64[8], proven was int64[2 to 8, 3 to 9]",
        ),
        (
            (torch.ones(2, 9, dtype=torch.int64),),
            {"mask": torch.ones(2, 10, dtype=torch.int64), "mode": "mean"},
            "ids is int64[2, 9]: size 9 of dimension 1, proven were 2 to 8",
        ),
        (
            (IDS,),
            {"mask": torch.ones(2, 7, dtype=torch.int64), "mode": "mean"},
            "mask is int64[2, 7]: size 7 of dimension 1 does not go with the sizes of ids as in every call that was"
            " proven",
        ),
    ],
)
def test_the_argument_is_named_with_what_was_found_and_proven(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    assert explain_mismatch(flatten_arguments(args, kwargs), [PROVEN], forward) == words


def test_a_size_that_never_varied() -> None:
    fixed = variant(IDS, shapes=[(2, 7)])
    call = flatten_arguments((torch.ones(2, 5, dtype=torch.int64),), {})
    assert explain_mismatch(call, [fixed], forward) == "ids is int64[2, 5]: size 5 of dimension 1, proven was 7"


def test_a_vector_that_counted_and_a_cache_that_was_filled() -> None:
    from dataclasses import replace

    counting = replace(variant(IDS, shapes=[(2, 7)]), positions=(PositionSpec(0, None, 0),))
    assert explain_mismatch(flatten_arguments((IDS,), {}), [counting], forward).startswith("ids does not count up")
    cached = replace(variant(IDS, shapes=[(2, 7)]), argument_caches=(CacheState("DynamicCache", (True,), (), ()),))
    assert "cache" in explain_mismatch(flatten_arguments((IDS,), {}), [cached], forward)


def test_of_several_variants_the_nearest_is_compared() -> None:
    other = variant(IDS, mode="max", shapes=[("batch", "length")])
    call = flatten_arguments((torch.ones(2, 9, dtype=torch.int64),), {"mode": "max"})
    for variants in ([PROVEN, other], [other, PROVEN]):
        assert explain_mismatch(call, variants, forward).startswith("ids is int64[2, 9]")


def test_each_signature_is_told_once_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    log = FallbackLog("predictor.model", [PROVEN], forward)
    for length in (9, 10):  # sizes are not part of a signature
        log.tell("size outside the proven range", flatten_arguments((torch.ones(2, length).long(),), {"mode": "mean"}))
    assert len(caplog.messages) == 1
    for number in range(40):
        log.tell("other arguments", flatten_arguments((IDS,), {"mode": f"mode {number}"}))
    assert len(caplog.messages) == 21
    assert (
        caplog.messages[-1] == "module predictor.model: other ways to call it run eager, too; they are only counted now"
    )
