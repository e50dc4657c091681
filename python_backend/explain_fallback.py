"""Why a call runs eager, in the words of the module's author: which argument, what it was, what was proven."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .calls import FlatTree, leaf_paths, load_spec
from .manifest import Leaf, TensorSpec, Variant

__all__ = ["FallbackLog", "explain_mismatch"]

logger = logging.getLogger("cortex_compile.runtime")

_LINES_A_MODULE = 20
_CONSTANT_LENGTH = 80

_WHATEVER_THE_SIGNATURE = {
    "autocast": "torch.autocast is on, and the module was proven without it",
    "gradients wanted": "gradients are wanted of it; with torch.no_grad() around the call it runs compiled",
    "other device": "an argument is on another device than the CPU",
    "other layout": "an argument is a sparse or quantized tensor",
}


class FallbackLog:
    """Tells once of each signature of a module that runs eager, and why."""

    def __init__(self, module: str, variants: Sequence[Variant], original: Callable[..., Any]) -> None:
        self._module = module
        self._variants = variants
        self._original = original
        self._told: set[Any] = set()

    def tell(self, reason: str, call: FlatTree | None, detail: str = "") -> None:
        """``reason`` is the label that is counted; ``detail`` says more where the call alone does not."""
        key = (reason, None if call is None else _signature_of(call))
        if key in self._told or len(self._told) > _LINES_A_MODULE:
            return
        self._told.add(key)
        if len(self._told) > _LINES_A_MODULE:
            logger.warning("module %s: other ways to call it run eager, too; they are only counted now", self._module)
            return
        why = detail or _WHATEVER_THE_SIGNATURE.get(reason)
        if why is None:
            why = reason if call is None else explain_mismatch(call, self._variants, self._original)
        logger.warning("module %s: this call runs eager: %s", self._module, why)


def _signature_of(call: FlatTree) -> tuple[Any, ...]:
    """Equal for calls of one signature: the same tree, constants, dtypes and ranks."""
    return call.spec, call.leaves, tuple((tensor.dtype, tensor.dim()) for tensor in call.tensors)


def explain_mismatch(call: FlatTree, variants: Sequence[Variant], original: Callable[..., Any]) -> str:
    """What differs from the variant that comes nearest. ``original`` names the arguments given by position."""
    found = [next(_problems(call, variant, original), None) for variant in variants]
    nearest = max((problem for problem in found if problem is not None), default=(0, "no way to call it was proven"))
    return nearest[1]


def _problems(call: FlatTree, variant: Variant, original: Callable[..., Any]) -> Iterator[tuple[int, str]]:
    """How far the comparison came, and what differs there; in the order in which a call is matched."""
    yield from ((0, text) for text in _other_arguments(call, variant, original))
    if call.states != variant.argument_caches:
        yield 1, "a cache among the arguments is filled otherwise than any that was proven"
        return
    for tensor, spec in zip(call.tensors, variant.inputs, strict=True):
        if _dtype(tensor) != spec.dtype or tensor.dim() != len(spec.shape):
            yield 2, f"{spec.name} is {_dtype(tensor)}{list(tensor.shape)}, proven was {_shape_in_words(spec, variant)}"
            return
    yield from ((3, text) for text in _other_sizes(call, variant))
    names = [variant.inputs[position.index].name for position in variant.positions]
    if names:
        yield 4, f"{' or '.join(names)} does not count up by one as in every call that was proven"


def _other_arguments(call: FlatTree, variant: Variant, original: Callable[..., Any]) -> Iterator[str]:
    proven = dict(zip(leaf_paths(load_spec(variant.arguments)), variant.argument_leaves, strict=True))
    found = dict(zip(leaf_paths(call.spec), call.leaves, strict=True))
    for path, leaf in found.items():
        name = _name(path, original)
        if path not in proven:
            yield f"argument {name} was in no call that was proven"
        elif _differs(leaf, proven[path]):
            yield f"argument {name} is {_leaf_in_words(leaf)}, proven was {_leaf_in_words(proven[path])}"
    for path in proven:
        if path not in found:
            yield f"argument {_name(path, original)} is missing; every call that was proven had it"
    if call.spec != load_spec(variant.arguments):
        yield "its arguments are nested otherwise than in any call that was proven"


def _name(path: tuple[int | str, ...], original: Callable[..., Any]) -> str:
    kind, key, *rest = path
    if kind == 0:
        try:
            key = list(inspect.signature(original).parameters)[int(key)]
        except (IndexError, TypeError, ValueError):
            key = f"number {int(key) + 1}"
    return "".join([str(key), *(f"[{part!r}]" for part in rest), " (by position)" if kind == 0 else ""])


def _differs(leaf: Leaf, proven: Leaf) -> bool:
    return (leaf.tensor, leaf.cache, type(leaf.constant), leaf.constant) != (
        proven.tensor,
        proven.cache,
        type(proven.constant),
        proven.constant,
    )


def _leaf_in_words(leaf: Leaf) -> str:
    if leaf.tensor is not None:
        return "a tensor"
    if leaf.cache is not None:
        return "a cache"
    text = repr(leaf.constant)
    return text if len(text) <= _CONSTANT_LENGTH else f"{text[:_CONSTANT_LENGTH]}…"


def _other_sizes(call: FlatTree, variant: Variant) -> Iterator[str]:
    ranges = {dimension.name: (dimension.minimum, dimension.maximum) for dimension in variant.dimensions}
    sizes: dict[str, tuple[int, str]] = {}
    for tensor, spec in zip(call.tensors, variant.inputs, strict=True):
        for axis, (size, expected) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
            where = f"{spec.name} is {_dtype(tensor)}{list(tensor.shape)}: size {size} of dimension {axis}"
            if isinstance(expected, int):
                if size != expected:
                    yield f"{where}, proven {_range(expected, expected, 0)}"
                continue
            name, _, offset = expected.partition("+")
            base = size - int(offset or 0)
            minimum, maximum = ranges.get(name, (0, base))
            if not minimum <= base <= maximum:
                yield f"{where}, proven {_range(minimum, maximum, size - base)}"
            if sizes.setdefault(name, (base, spec.name))[0] != base:
                yield f"{where} does not go with the sizes of {sizes[name][1]} as in every call that was proven"


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape_in_words(spec: TensorSpec, variant: Variant) -> str:
    """``int64[1 to 64, 2 to 512]``"""
    ranges = {dimension.name: dimension for dimension in variant.dimensions}
    words = []
    for size in spec.shape:
        name, _, offset = str(size).partition("+")
        if name in ranges:
            words.append(_range(ranges[name].minimum, ranges[name].maximum, int(offset or 0)).partition(" ")[2])
        else:
            words.append(str(size))
    return f"{spec.dtype}[{', '.join(words)}]"


def _range(minimum: int, maximum: int, offset: int) -> str:
    if minimum == maximum:
        return f"was {minimum + offset}"
    return f"were {minimum + offset} to {maximum + offset}"
