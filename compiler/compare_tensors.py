"""When are two results the same? Their kind must be, and each element within its dtype's tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import Difference
from cortex_compile.compiler.tolerances import Tolerance, Tolerances

if TYPE_CHECKING:
    import torch


def worst_difference(
    expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor], names: Sequence[str], tolerances: Tolerances
) -> Difference | str:
    """The element nearest to, or furthest beyond, its tolerance; a sentence where shapes, dtypes or NaNs differ."""
    if len(expected) != len(found):
        return f"it returned {len(found)} tensors, eager {len(expected)}"
    worst = Difference(names[0] if names else "", (), 0.0, 0.0, 0.0, 0.0)
    for name, mine, theirs in zip(names, expected, found, strict=True):
        problem = _different_kind(name, mine, theirs)
        if problem is not None:
            return problem
        difference = _worst_element(name, mine, theirs, tolerances.of(str(mine.dtype).removeprefix("torch.")))
        if difference.excess >= worst.excess:
            worst = difference
    return worst


def _different_kind(name: str, expected: torch.Tensor, found: torch.Tensor) -> str | None:
    if expected.dtype != found.dtype:
        return f"{name}: dtype {found.dtype}, eager {expected.dtype}"
    if expected.shape != found.shape:
        return f"{name}: shape {tuple(found.shape)}, eager {tuple(expected.shape)}"
    if expected.is_floating_point():
        if not expected.isnan().equal(found.isnan()):
            return f"{name}: NaN in other places than eager"
        infinite = expected.isinf()
        if not infinite.equal(found.isinf()) or not expected[infinite].equal(found[infinite]):
            return f"{name}: infinity in other places than eager"
    return None


def _worst_element(name: str, expected: torch.Tensor, found: torch.Tensor, tolerance: Tolerance) -> Difference:
    import torch

    if expected.numel() == 0:
        return Difference(name, (), 0.0, 0.0, 0.0, 0.0)
    mine, theirs = expected.double(), found.double()
    absolute = (mine - theirs).abs()
    absolute[~mine.isfinite()] = 0.0
    if tolerance.of_norm:
        # Every element stands for the whole tensor, the furthest the most.
        allowed = tolerance.of_norm * mine.nan_to_num(0.0, 0.0, 0.0).norm() * absolute.max() / absolute.norm()
    else:
        allowed = tolerance.absolute + tolerance.relative * mine.abs()
    excess = torch.where(absolute == 0, torch.zeros_like(absolute), absolute / allowed)
    flat = int(excess.argmax())
    index = tuple(int(part) for part in torch.unravel_index(torch.tensor(flat), expected.shape))
    at = index if index else ()
    return Difference(
        name, index, float(mine[at]), float(theirs[at]), float(absolute[at]), min(float(excess[at]), 1e300)
    )
