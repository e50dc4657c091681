"""What is excused beyond the samples: as much as eager itself moves when its inputs are rounded in their own dtype."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from cortex_compile.compiler.compare_runs import Bench, Unequal
from cortex_compile.compiler.tolerances import Tolerances


def cancels(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Ill-conditioned: of an input near 1 the last digits are all that is left."""
    return [(tensors[0] - 1) * 100]


def cancels_off_by_rounding(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [cancels(tensors)[0] + 0.05]


@pytest.mark.parametrize(("dtype", "excused"), [(torch.float16, True), (torch.float32, False)])
def test_half_precision_rounds_more(dtype: torch.dtype, excused: bool) -> None:
    bench = Bench(cancels, cancels_off_by_rounding, ["y"], [], Tolerances())
    x = (1 + 0.01 * torch.arange(16).view(4, 4) / 16).to(dtype)
    if excused:
        bench.compare([x], "other sizes")
        assert bench.excused == 1
    else:
        with pytest.raises(Unequal, match="times the tolerance"):
            bench.compare([x], "other sizes")
    with pytest.raises(Unequal):
        bench.compare([x], "a recorded call", may_excuse=False)
