"""Batch independence: rows computed together equal rows computed alone, which is what lets Triton batch requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cortex_compile.compiler.compare_runs import Bench, EagerFails, Unequal
from cortex_compile.compiler.tensor_sizes import Family, Values

if TYPE_CHECKING:
    import torch

_TRIED: tuple[tuple[int, Values], ...] = ((5, "random"), (3, "wide"))


def why_rows_depend(
    bench: Bench,
    call: Sequence[torch.Tensor],
    family: Family | None,
    largest: int,
    input_names: Sequence[str],
) -> str:
    """A sentence, or "" where every row was the same alone and among others.

    Args:
        family: of the batch; None where there is none.
        largest: batch that was proven.
    """
    if family is None:
        return "its inputs have no dimension in common that could be a batch"
    members = {index for index, axis in family.members if axis == 0}
    without = [name for index, name in enumerate(input_names) if index not in members]
    if without:
        return f"the input {without[0]!r} has no row for each row of the batch"
    for rows, values in _TRIED:
        rows = min(rows, largest)
        if rows < 2:
            return "no batch of more than one row was proven"
        together = bench.inputs(call, family.sizes(rows), values, 4)
        try:
            found = bench.compiled(together)
        except Exception:
            return f"the graph fails on a batch of {rows} rows of {values} values"
        if any(tensor.dim() == 0 or tensor.shape[0] != rows for tensor in found):
            return "an output has no row for each row of the batch"
        for row in range(rows):
            alone = [tensor[row : row + 1] for tensor in together]
            same_row = [tensor[row : row + 1] for tensor in found]
            try:
                expected = bench.run_eager(alone)
                bench.compare_with(expected, lambda _, same_row=same_row: same_row, alone, f"row {row} of {rows}")  # type: ignore[misc]
            except EagerFails as error:
                return f"the module fails on a row by itself ({error})"
            except Unequal as error:
                return str(error)
    return ""
