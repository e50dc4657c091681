"""int8, fp16 and bf16 on ONNX Runtime: what is written, what is refused, and what is caught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from cortex_compile.backends.onnx_export import IR_VERSION, OPSET
from cortex_compile.backends.protocol import ExportedGraph, ExportRequest, ReducesPrecision, Refused, SizeProfile
from cortex_compile.backends.reduced_engine import ReducedEngine
from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler import measure_candidate, measure_latency, try_candidate
from cortex_compile.compiler.artifacts import Attempt
from cortex_compile.compiler.capture_modules import capture_modules
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.manifest import Variant


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(32, 64), nn.Linear(64, 8)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.second(torch.relu(self.first(tensors[0]))),)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(32, 8, batch_first=True)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.lstm(tensors[0][:, None])[0][:, 0],)


class Weightless(nn.Module):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (tensors[0] * 2,)


def reduced(precision: str) -> ReducedEngine:
    engine = find_engine("onnxruntime")
    assert isinstance(engine, ReducesPrecision)
    return ReducedEngine(engine, precision)


def export(module: nn.Module, precision: str, folder: Path) -> ExportedGraph | Refused:
    own = folder / "candidate"
    own.mkdir()
    sizes = SizeProfile(((1, 32),), ((2, 32),), ((8, 32),))
    varying = frozenset({(0, 0)})
    request = ExportRequest(module.eval(), (torch.randn(2, 32),), ("x",), ("y",), varying, "dynamo", sizes)
    return reduced(precision).export(request, own)


@pytest.mark.parametrize(
    ("module", "precision", "operator", "nearness"),
    [
        (Net(), "int8", "MatMulInteger", 0.05),
        (Recurrent(), "int8", "DynamicQuantizeLSTM", 0.05),
        (Net(), "fp16", "Cast", 0.005),
    ],
    ids=["int8", "int8 lstm", "fp16"],
)
def test_a_graph_of_less_precision_is_nearly_the_module_at_every_size(
    module: nn.Module, precision: str, operator: str, nearness: float, tmp_path: Path
) -> None:
    exported = export(module, precision, tmp_path)
    assert isinstance(exported, ExportedGraph), exported
    model = onnx.load(exported.graph, load_external_data=False)
    assert operator in {node.op_type for node in model.graph.node}
    assert model.ir_version <= IR_VERSION
    assert all(each.version <= OPSET for each in model.opset_import if each.domain == "")
    session = reduced(precision).open_session(exported.graph, 1)
    for rows in (1, 3):
        x = torch.randn(rows, 32)
        (found,) = session.run([x.numpy()])
        (expected,) = module(x)
        assert found.dtype == np.float32
        difference = np.abs(found - expected.detach().numpy()).max()
        assert 0 < difference < nearness, "it computes with less, and so a little else"


def test_nothing_of_fp32_stays_on_disk(tmp_path: Path) -> None:
    exported = export(Net(), "int8", tmp_path)
    assert isinstance(exported, ExportedGraph)
    written = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert written == set(exported.files)


@pytest.mark.parametrize(
    ("module", "precision", "reason"),
    [(Weightless(), "int8", "MatMul, Gemm, LSTM"), (Net(), "bf16", "no bf16 matrix product")],
)
def test_what_cannot_be_is_refused_with_its_reason(
    module: nn.Module, precision: str, reason: str, tmp_path: Path
) -> None:
    refused = export(module, precision, tmp_path)
    assert isinstance(refused, Refused)
    assert reason in refused.reason


def test_onnxruntime_still_has_no_bf16_matrix_product_for_the_cpu() -> None:
    """When this fails, bf16 can be tried."""
    import onnxruntime

    bf16, fp32 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["b"], to=bf16),
        onnx.helper.make_node("MatMul", ["b", "b"], ["c"]),
        onnx.helper.make_node("Cast", ["c"], ["y"], to=fp32),
    ]
    tensors = [onnx.helper.make_tensor_value_info(name, fp32, [2, 2]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "bf16", tensors[:1], tensors[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


class Predictor:
    def __init__(self, net: nn.Module) -> None:
        self.net = net.eval()


class Lying:
    """Its graph of less precision is that of another module."""

    name = "onnxruntime"
    exporters = ("dynamo",)

    def __init__(self, other: nn.Module) -> None:
        self._other = other

    def export(self, request: Any, folder: Path) -> Any:
        return find_engine("onnxruntime").export(replace(request, module=self._other), folder)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Any:
        return find_engine("onnxruntime").open_session(graph, threads, pack_weights)


def attempt(
    net: nn.Module, engine: Any, folder: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Attempt, Variant | None]:
    monkeypatch.setattr(measure_latency, "WINDOW_S", 0.001)
    monkeypatch.setattr(measure_candidate, "MINIMUM_SPEEDUP", 0.0)
    predictor = Predictor(net)
    (captured,) = capture_modules(
        predictor, ModuleType("cortex_predictor"), Path(__file__).parent, lambda: predictor.net(torch.randn(3, 32))
    )
    assert captured.refused is None
    (signature,) = captured.signatures.values()
    return try_candidate.try_candidate(
        captured, signature, "v0", engine, folder, 1, "again", lambda _: None, Tolerances().at_precision(precision)
    )


def test_int8_is_not_held_to_the_last_digit_and_never_batched_across_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, variant = attempt(Net(), reduced("int8"), tmp_path, "int8", monkeypatch)
    assert (found.refused_at, found.reason) == (None, "")
    assert variant is not None
    assert variant.batch_dimension is None
    assert variant.paddings == ()
    assert "batch" in {dimension.name for dimension in variant.dimensions}
    assert found.verdict is not None
    assert "rounded" in found.verdict.batch_reason


class Negated(Net):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (-super().forward(*tensors)[0],)


class Nothing(Net):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (super().forward(*tensors)[0] * 0,)


class NotANumber(Net):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.log(super().forward(*tensors)[0]),)


@pytest.mark.parametrize("other", [Negated(), Nothing(), NotANumber()], ids=lambda other: type(other).__name__)
def test_what_is_no_rounding_is_caught_at_any_precision(
    other: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, variant = attempt(Net(), Lying(other.eval()), tmp_path, "int8", monkeypatch)
    assert variant is None
    assert found.refused_at == "verify"
