from __future__ import annotations

from torch import nn

from cortex_compile.compiler.read_limits import read_limits


def test_nothing_empty_is_tried_on_a_recurrent_net() -> None:
    """ONNX Runtime ends the whole process there."""
    assert read_limits(nn.Sequential(nn.LSTM(2, 2))).least == 1
    assert read_limits(nn.Linear(2, 2)).least == 0
