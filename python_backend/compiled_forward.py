"""The forward that an exchanged module has: it matches a call to a variant, runs the graph, rebuilds the result.

Whatever was not proven goes to the module's own forward: another signature, a size outside the proven range, another
device, a tensor that wants gradients, autocast, a changed attribute, an engine that fails. Never a wrong answer.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .calls import FlatTree, UnsupportedLeaf, equal_constants, load_spec
from .engine_rest import EngineRest
from .explain_fallback import FallbackLog
from .fingerprint import Watched, WatchedTensor, first_changed, first_changed_tensor
from .flatten_call import flatten_arguments
from .manifest import Variant
from .results import ResultPlan, rebuild_result
from .timing import add_core_time

if TYPE_CHECKING:
    import numpy as np
    import torch

logger = logging.getLogger("cortex_compile.runtime")

_ENGINE_FAILED = "engine failed"


class Session(Protocol):
    """Runs a graph on arrays in the order of the variant's inputs; results are fresh and writable.

    Where a core takes calls on a GPU, its sessions also run on torch's tensors there, and their results stay there.
    """

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]: ...


@dataclass
class CallCounts:
    """How often a module ran compiled, and how often eager, by reason; and how many of its engines fail at present."""

    compiled: int = 0
    eager: dict[str, int] = field(default_factory=dict)
    failing: int = 0


class ReadyVariant:
    """A variant with its session and with everything that matching needs worked out once."""

    def __init__(self, variant: Variant, session: Session) -> None:
        import torch

        self.variant = variant
        self.session = session
        self.rest = EngineRest()
        self._argument_spec = load_spec(variant.arguments)
        self._argument_leaves = variant.argument_leaves
        self._argument_caches = variant.argument_caches
        self._plan = ResultPlan(load_spec(variant.result), variant.result_leaves, variant.result_caches)
        self._dtypes = [getattr(torch, tensor.dtype) for tensor in variant.inputs]
        self._ranks = [len(tensor.shape) for tensor in variant.inputs]
        self._fixed: list[tuple[int, int, int]] = []
        varying: dict[str, list[tuple[int, int, int]]] = {}
        for index, tensor in enumerate(variant.inputs):
            for axis, size in enumerate(tensor.shape):
                if isinstance(size, int):
                    self._fixed.append((index, axis, size))
                else:
                    name, _, offset = size.partition("+")
                    varying.setdefault(name, []).append((index, axis, int(offset or 0)))
        self._ranges = [
            (varying[dimension.name], dimension.minimum, dimension.maximum)
            for dimension in variant.dimensions
            if dimension.name in varying
        ]
        self._positions = [
            (position.index, varying[position.dimension][0] if position.dimension else None, position.offset)
            for position in variant.positions
        ]

    def mismatch(self, call: FlatTree) -> str | None:
        """Why this variant does not fit a call, or None. The words are few and fixed: they label a metric."""
        if not self._is_like(call):
            return "other arguments"
        if call.states != self._argument_caches:
            return "other state of a cache"
        if [tensor.dtype for tensor in call.tensors] != self._dtypes:
            return "other dtype"
        shapes = [tensor.shape for tensor in call.tensors]
        if list(map(len, shapes)) != self._ranks:
            return "other rank"
        for index, axis, size in self._fixed:
            if shapes[index][axis] != size:
                return "other size"
        for places, minimum, maximum in self._ranges:
            index, axis, offset = places[0]
            size = shapes[index][axis] - offset
            if not minimum <= size <= maximum:
                return "size outside the proven range"
            for index, axis, offset in places[1:]:
                if shapes[index][axis] != size + offset:
                    return "other size"
        return "other positions" if self._positions and self._miscounts(call) else None

    def _is_like(self, call: FlatTree) -> bool:
        """True if its arguments are of the same structure, with the same constants."""
        spec, leaves = self._argument_spec, self._argument_leaves
        if (call.spec is not spec and call.spec != spec) or not equal_constants(leaves, call.leaves):
            return False
        # Plain calls have these objects in common, so that those of the next one need not be looked into.
        self._argument_spec, self._argument_leaves = call.spec, call.leaves
        return True

    def _miscounts(self, call: FlatTree) -> bool:
        """True if a vector that counted whenever the graph was proven does not count in this call."""
        import torch

        for index, place, offset in self._positions:
            start = offset
            if place is not None:
                tensor, axis, shift = place
                start += call.tensors[tensor].shape[axis] - shift
            vector = call.tensors[index]
            length = vector.shape[0]
            if length == 1:
                if int(vector[0]) != start:
                    return True
            elif not vector.equal(torch.arange(start, start + length, dtype=vector.dtype, device=vector.device)):
                return True
        return False

    def run(self, call: FlatTree) -> Any:
        import numpy as np
        import torch

        if not all([tensor.is_cpu for tensor in call.tensors]):
            on_device: list[Any] = [tensor.detach().contiguous() for tensor in call.tensors]
            return rebuild_result(self._plan, call, self.session.run(on_device))
        # Not ascontiguousarray, which makes a scalar a vector of one.
        arrays = [np.asarray(_detached(tensor).numpy(), order="C") for tensor in call.tensors]
        results = [torch.from_numpy(array) for array in self.session.run(arrays)]
        return rebuild_result(self._plan, call, results)


def _detached(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach() if tensor.requires_grad else tensor


def not_runnable(call: FlatTree, devices: frozenset[str]) -> str | None:
    """Why no graph may stand in for the module in this call, whatever the signature, or None."""
    import torch

    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return "autocast"
    if "cpu" not in devices or not all([tensor.is_cpu for tensor in call.tensors]):
        found = {tensor.device for tensor in call.tensors}
        if len(found) > 1 or not {device.type for device in found} <= devices:
            return "other device"
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in call.tensors):
        return "gradients wanted"
    if any([tensor.layout is not torch.strided or tensor.is_quantized for tensor in call.tensors]):
        return "other layout"
    return None


def make_compiled_forward(
    name: str,
    original: Callable[..., Any],
    variants: Sequence[ReadyVariant],
    watched: Sequence[Watched],
    counts: CallCounts,
    devices: frozenset[str] = frozenset({"cpu"}),
    tensors: Sequence[WatchedTensor] = (),
) -> Callable[..., Any]:
    """A function to stand as ``module.forward`` on the instance; its signature is the original's.

    Calls whose tensors are together on one of ``devices`` may run compiled.
    """

    log = FallbackLog(name, [variant.variant for variant in variants], original)

    def eager(reason: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        counts.eager[reason] = counts.eager.get(reason, 0) + 1
        return original(*args, **kwargs)

    def note_failure(variant: ReadyVariant, error: Exception) -> None:
        if not variant.rest.failing:
            logger.error("module %s: the engine failed; its own forward answers", name, exc_info=error)
        variant.rest.begin()
        count_failing()

    def note_recovery(variant: ReadyVariant) -> None:
        variant.rest.end()
        count_failing()
        logger.warning("module %s: the engine runs again", name)

    def count_failing() -> None:
        counts.failing = sum(variant.rest.failing for variant in variants)

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            call = flatten_arguments(args, kwargs)
        except UnsupportedLeaf as unsupported:
            log.tell("other arguments", None, f"{unsupported}, which is neither a tensor nor a plain value")
            return eager("other arguments", args, kwargs)
        changed = first_changed(watched) or first_changed_tensor(tensors)
        if changed is not None:
            log.tell("changed attribute", None, f"{changed} was changed since it was compiled")
            return eager("changed attribute", args, kwargs)
        reason = not_runnable(call, devices)
        if reason is not None:
            log.tell(reason, call)
            return eager(reason, args, kwargs)
        for variant in variants:
            mismatch = variant.mismatch(call)
            if mismatch is None and not variant.rest.is_over():
                return eager(_ENGINE_FAILED, args, kwargs)
            if mismatch is None:
                started_s = time.perf_counter()
                try:
                    result = variant.run(call)
                except Exception as error:
                    # Where the module itself raises too, the call is to blame and not the engine.
                    answer = eager(_ENGINE_FAILED, args, kwargs)
                    note_failure(variant, error)
                    return answer
                add_core_time(time.perf_counter() - started_s)
                counts.compiled += 1
                if variant.rest.failing:
                    note_recovery(variant)
                return result
            reason = mismatch
        log.tell(reason or "other arguments", call)
        return eager(reason or "other arguments", args, kwargs)

    return forward
