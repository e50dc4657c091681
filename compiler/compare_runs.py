"""One graph beside its module: both run on the same inputs, and the worst difference so far is remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import Difference
from cortex_compile.compiler.compare_tensors import worst_difference
from cortex_compile.compiler.find_positions import Positions, resize_call
from cortex_compile.compiler.tensor_sizes import Axis, Values
from cortex_compile.compiler.tolerances import Tolerances

if TYPE_CHECKING:
    import torch

Run = Callable[[Sequence["torch.Tensor"]], Sequence["torch.Tensor"]]
"""Tensors in the order of the signature, to the tensors of the result. Eager's may raise Unequal."""

# Far from what a model was made for it may be ill-conditioned: a softmax tips over, and rounding decides which way. So
# beyond the recorded calls a difference is excused if eager itself moves by at least a tenth of it when its inputs move
# by what rounding to float32 may cost. A graph that computes something else is not excused: eager stands still there.
ROUNDING = 1e-6
EXCUSED_FACTOR = 10.0


class EagerFails(Exception):
    """The module itself cannot do it; the text is its own exception."""


class Unequal(Exception):
    """The graph fails where eager answers, or answers otherwise."""

    def __init__(self, reason: str, difference: Difference | None = None) -> None:
        super().__init__(reason)
        self.difference = difference


@dataclass
class Bench:
    """Eager and graph, how they are compared, and what came of it so far."""

    eager: Run
    compiled: Run
    output_names: Sequence[str]
    positions: Sequence[Positions]
    tolerances: Tolerances
    compared: int = 0
    excused: int = 0
    worst: Difference | None = None
    seconds: float = 0.0
    """What the last comparison took, in time of the processor."""

    def inputs(
        self, call: Sequence[torch.Tensor], sizes: Mapping[Axis, int], values: Values, seed: int
    ) -> Sequence[torch.Tensor]:
        return resize_call(call, sizes, self.positions, values, seed)

    def compare(self, inputs: Sequence[torch.Tensor], what: str, may_excuse: bool = True) -> None:
        """
        Raises:
            EagerFails: eager cannot do it, so there is nothing to be equal to.
            Unequal: the graph fails or answers otherwise.
        """
        started = time.process_time()
        expected = self.run_eager(inputs)
        self.compare_with(expected, self.compiled, inputs, what, may_excuse)
        self.seconds = time.process_time() - started

    def run_eager(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """
        Raises:
            EagerFails: eager cannot do it.
            Unequal: it does more than a graph would.
        """
        try:
            return self.eager(inputs)
        except Unequal:
            raise
        except Exception as error:
            raise EagerFails(_first_line(error)) from error

    def compare_with(
        self,
        expected: Sequence[torch.Tensor],
        compiled: Run,
        inputs: Sequence[torch.Tensor],
        what: str,
        may_excuse: bool = True,
    ) -> None:
        """Compare what eager answered on ``inputs`` with what ``compiled`` makes of them.

        Raises:
            Unequal: it fails or answers otherwise.
        """
        try:
            found = compiled(inputs)
        except Exception as error:
            raise Unequal(f"on {what} the graph fails where eager answers: {_first_line(error)}") from error
        difference = worst_difference(expected, found, self.output_names, self.tolerances)
        self.compared += 1
        if isinstance(difference, str):
            raise Unequal(f"on {what}: {difference}")
        if difference.excess > 1:
            if may_excuse and difference.excess <= EXCUSED_FACTOR * self._own_movement(expected, inputs):
                self.excused += 1
                return
            raise Unequal(
                f"on {what}: {difference.where}{list(difference.index)} is {difference.found:.7g}, eager says "
                f"{difference.expected:.7g}, {difference.excess:.3g} times the tolerance",
                difference,
            )
        if self.worst is None or difference.excess >= self.worst.excess:
            self.worst = difference

    def _own_movement(self, expected: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]) -> float:
        """How far eager's own result moves, in tolerances, when its inputs are rounded otherwise."""
        import torch

        generator = torch.Generator().manual_seed(5)
        moved = [
            tensor * (1 + _rounding(tensor) * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor
            for tensor in inputs
        ]
        difference = worst_difference(expected, self.eager(moved), self.output_names, self.tolerances)
        return 0.0 if isinstance(difference, str) else difference.excess


def _rounding(tensor: torch.Tensor) -> float:
    """Half precision rounds more than float32 does."""
    import torch

    return max(ROUNDING, torch.finfo(tensor.dtype).eps)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = f": {lines[0]}" if lines else ""
    return f"{type(error).__name__}{text}"[:300]
