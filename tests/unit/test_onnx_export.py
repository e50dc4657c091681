"""The exporter of last resort: what it takes that dynamo does not, what it refuses, and what it leaves as it was."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from cortex_compile.backends.onnx_export import EXPORTERS, export_onnx
from cortex_compile.backends.protocol import ExportedGraph, ExportRequest, Refused, SizeProfile
from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.export_request import left_as_it_was


def either(x: torch.Tensor) -> torch.Tensor:
    if bool(x.sum() > 0):
        return x * 2
    return x - 1


class Scripted(nn.Module):
    """Compiled by its author: dynamo's exporter has no way into it, a trace takes it in with both branches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(8, 64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and in many a predictor
            self.either = torch.jit.script(either)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.either(self.linear(tensors[0])),)


class Branches(nn.Module):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (x,) = tensors
        if x.sum() > 0:  # this line
            return (x * 2,)
        return (x - 1,)


class TakesNumbers(nn.Module):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (x,) = tensors
        return (x * max(x.tolist()[0]),)  # this line


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.calls += 1
        return (tensors[0] * 2,)


def request(module: nn.Module, exporter: str = "torchscript") -> ExportRequest:
    sizes = SizeProfile(((1, 8),), ((2, 8),), ((32, 8),))
    return ExportRequest(module.eval(), (torch.rand(2, 8),), ("x",), ("y",), frozenset({(0, 0)}), exporter, sizes)


def line_of(module: type[nn.Module]) -> str:
    import inspect

    lines, start = inspect.getsourcelines(module)
    return f"{Path(__file__).name}:{start + next(i for i, line in enumerate(lines) if 'this line' in line)}"


def test_a_trace_takes_what_dynamo_does_not_and_is_right_on_both_branches(tmp_path: Path) -> None:
    module = Scripted()
    assert EXPORTERS[0] == "dynamo"
    assert isinstance(export_onnx(request(module, "dynamo"), tmp_path), Refused)
    (folder := tmp_path / "traced").mkdir()
    exported = export_onnx(request(module), folder)
    assert isinstance(exported, ExportedGraph), exported
    assert isinstance(exported.input_shapes[0][0], str)
    session = find_engine("onnxruntime").open_session(exported.graph, 1)
    for x in (torch.randn(5, 8) + 3, torch.randn(5, 8) - 3, torch.randn(1, 8)):
        np.testing.assert_allclose(session.run([x.numpy()])[0], module(x)[0].detach(), rtol=1e-4, atol=1e-5)


def test_its_file_has_our_versions_and_its_weights_beside_it(tmp_path: Path) -> None:
    exported = export_onnx(request(Scripted()), tmp_path)
    assert isinstance(exported, ExportedGraph), exported
    model = onnx.load(exported.graph, load_external_data=False)
    assert (model.opset_import[0].version, model.ir_version) == (20, 10)
    assert [file.name for file in exported.files] == ["model.onnx", "model.onnx.data"]
    external = [each.name for each in model.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
    assert external == ["linear.weight"]


@pytest.mark.parametrize("module", [Branches, TakesNumbers])
def test_what_a_trace_would_hold_fixed_is_refused_with_the_users_line(module: type[nn.Module], tmp_path: Path) -> None:
    refused = export_onnx(request(module()), tmp_path)
    assert isinstance(refused, Refused)
    assert refused.reason.startswith(line_of(module))
    assert "this line" in refused.reason


def test_a_predictor_that_silences_warnings_is_refused_as_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(export_onnx(request(Branches()), tmp_path), Refused)


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = Counts()
    asked = request(module)
    module.train()
    seen: list[int] = []
    module.register_forward_hook(lambda *_: seen.append(1))
    calls, hooks = module.calls, dict(module._forward_hooks)
    with left_as_it_was(module):
        export_onnx(asked, tmp_path)
        assert module.calls.item() > 0  # the trace ran it
    assert module.calls is calls
    assert module.calls.item() == 0
    assert module.training
    assert dict(module._forward_hooks) == hooks
