"""What needs an NVIDIA GPU and the tensorrt package: ``scripts/test -m gpu`` on such a machine.

These have never run yet; until they have, docs/engines.md says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cortex_compile.backends.protocol import Available, ExportedGraph, ExportRequest, SizeProfile
from cortex_compile.backends.registry import find_engine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 3))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.net(tensors[0])
        return y, y.argmax(-1)


def test_it_is_available() -> None:
    answer = find_engine("tensorrt").availability()
    assert isinstance(answer, Available), answer


def test_a_plan_computes_in_float32_within_its_range_and_refuses_what_is_beyond(tmp_path: Path) -> None:
    engine, module = find_engine("tensorrt"), Model().eval()
    sizes = SizeProfile(((1, 256),), ((2, 256),), ((32, 256),))
    request = ExportRequest(
        module, (torch.randn(2, 256),), ("x",), ("y", "label"), frozenset({(0, 0)}), engine.exporters[0], sizes
    )
    exported = engine.export(request, tmp_path)
    assert isinstance(exported, ExportedGraph), exported
    assert [file.name for file in tmp_path.iterdir()] == ["model.plan"]
    session = engine.open_session(exported.graph, 1)
    for rows in (1, 2, 32):
        x = torch.randn(rows, 256)
        found, label = session.run([x.numpy()])
        expected, expected_label = module(x)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(label, expected_label.numpy())
        found[:] = 0
    with pytest.raises(ValueError, match="not built for the shape"):
        session.run([np.zeros((33, 256), np.float32)])
