"""A module taken through export, verify and measure by a real engine, and then run in place of its forward."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler import measure_candidate, measure_latency, try_candidate
from cortex_compile.compiler.artifacts import Attempt, Candidate
from cortex_compile.compiler.capture_modules import CapturedModule, capture_modules
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.compiler.tolerances import Tolerance, Tolerances
from cortex_compile.python_backend.exchange import ExchangedCore, exchange_cores
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Manifest, Variant

USER_MODULE = ModuleType("cortex_predictor")


class Predictor:
    def __init__(self, net: nn.Module) -> None:
        self.net = net.eval()


class Deep(nn.Module):
    """Deep and narrow: torch's cost a layer is what a graph saves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(40))
        self.scale = 2.0

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        for layer in self.layers:
            x = torch.relu(layer(x)) * self.scale + 0.1
        return {"y": x if bias is None else x + bias}


class CountsRows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0, keepdim=True)


def capture(predictor: Predictor, *calls: Callable[[nn.Module], Any]) -> CapturedModule:
    def answer() -> None:
        for call in calls:
            call(predictor.net)

    (captured,) = capture_modules(predictor, USER_MODULE, Path(__file__).parent, answer)
    assert captured.refused is None
    return captured


def attempt(
    captured: CapturedModule,
    folder: Path,
    engine: Any = None,
    tolerances: Tolerances | None = None,
    threads: int = 1,
) -> tuple[Attempt, Variant | None]:
    (signature,) = captured.signatures.values()
    engine = engine or find_engine("onnxruntime")
    return try_candidate.try_candidate(
        captured, signature, "v0", engine, folder, threads, "again", lambda _: None, tolerances or Tolerances()
    )


class Lying:
    """Exports the graph of another module in place of the one that it is asked for."""

    name = "lying"
    exporters = ("dynamo",)

    def __init__(self, other: nn.Module) -> None:
        self._other = other

    def export(self, request: Any, folder: Path) -> Any:
        return find_engine("onnxruntime").export(replace(request, module=self._other), folder)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Any:
        return find_engine("onnxruntime").open_session(graph, threads, pack_weights)


@pytest.fixture(autouse=True)
def measured_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided from timings is not tested here, so any speed will do."""
    monkeypatch.setattr(measure_latency, "WINDOW_S", 0.001)
    monkeypatch.setattr(measure_candidate, "MINIMUM_SPEEDUP", 0.0)


def exchanged(predictor: Predictor, captured: CapturedModule, folder: Path, smallest_batch: int = 0) -> ExchangedCore:
    """``smallest_batch`` stands for what was proven."""
    found, variant = attempt(captured, folder / "candidate")
    assert variant is not None, found.reason
    batch, *others = variant.dimensions
    assert batch.minimum == 0
    variant = replace(variant, dimensions=(replace(batch, minimum=smallest_batch), *others))
    candidate = Candidate("net", "v0", found, variant, "candidate")
    chosen = finish_core(captured, "net", "onnxruntime", [candidate], folder, 1)
    manifest = Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), (chosen.core,), {})
    (core,) = exchange_cores(predictor, USER_MODULE, manifest, chosen.folder, None)
    return core


def test_a_graph_is_proven_on_sizes_and_rows_beyond_the_samples(tmp_path: Path) -> None:
    found, variant = attempt(capture(Predictor(Deep()), lambda net: net(torch.randn(3, 4))), tmp_path)
    assert found.refused_at is None, found.reason
    assert variant is not None
    assert found.verdict is not None
    assert found.verdict.calls_compared > 8
    (batch,) = [dimension for dimension in variant.dimensions if dimension.name == variant.batch_dimension]
    assert (batch.minimum, batch.maximum) == (0, 64)
    assert batch.name == "batch"
    assert (variant.outputs[0].name, variant.outputs[0].shape[0]) == ("y", "batch")


def test_rows_that_depend_on_each_other_are_no_batch(tmp_path: Path) -> None:
    found, variant = attempt(capture(Predictor(CountsRows()), lambda net: net(torch.randn(3, 4))), tmp_path)
    assert variant is not None, found.reason
    assert variant.batch_dimension is None


def test_an_exporter_that_holds_one_branch_is_caught_by_other_values(tmp_path: Path) -> None:
    class Held(nn.Module):
        """Right on positive numbers only, as tracing a branch is."""

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (tensors[0] * 2,)

    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x - 1

    captured = capture(Predictor(Branch()), lambda net: net(torch.rand(2, 4) + 1))
    found, variant = attempt(captured, tmp_path, Lying(Held()))
    assert variant is None
    assert found.refused_at == "verify"
    assert "times the tolerance" in found.reason


def test_where_a_graph_is_not_equal_the_next_exporter_is_asked(tmp_path: Path) -> None:
    class Double(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    class Triple(nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (tensors[0] * 3,)

    class LyingAtFirst(Lying):
        exporters = ("dynamo", "torchscript")

        def export(self, request: Any, folder: Path) -> Any:
            lies = request.exporter == "dynamo" or self._always
            return super().export(request, folder) if lies else find_engine("onnxruntime").export(request, folder)

        _always = False

    captured = capture(Predictor(Double()), lambda net: net(torch.rand(2, 4)))
    engine = LyingAtFirst(Triple())
    found, variant = attempt(captured, tmp_path / "at-first", engine)
    assert variant is not None, found.reason
    assert (found.refused_at, found.exporter) == (None, "torchscript")
    engine._always = True
    found, variant = attempt(captured, tmp_path / "always", engine)
    assert variant is None
    assert found.refused_at == "verify"
    assert found.verdict is not None
    assert "times the tolerance" in found.reason
    assert "torchscript" not in found.reason, "the same reason is told once"


def test_where_a_module_sets_an_attribute_at_some_sizes_those_run_eager(tmp_path: Path) -> None:
    """As Swin does: its windows are made smaller for a small image, and stay so."""

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.window = 4

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] < self.window:
                self.window = x.shape[1]
                self.told = True
            return x - x[:, : self.window].mean(1, keepdim=True)

    predictor = Predictor(Windows())
    captured = capture(predictor, lambda net: net(torch.rand(2, 8)), lambda net: net(torch.rand(2, 12)))
    found, variant = attempt(captured, tmp_path)
    assert variant is not None, found.reason
    (length,) = [each for each in variant.dimensions if each.name != variant.batch_dimension]
    assert length.minimum == 4
    assert found.verdict is not None
    (why,) = [each.why_no_smaller for each in found.verdict.bounds if each.dimension == length.name]
    assert "sets its own attribute" in why
    assert vars(predictor.net).get("window") == 4
    assert "told" not in vars(predictor.net)


def test_the_tolerance_decides(tmp_path: Path) -> None:
    class Double(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (x * 2,)

    class NearlyDouble(nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (tensors[0] * 2.01,)

    captured = capture(Predictor(Double()), lambda net: net(torch.rand(2, 4)))
    found, _ = attempt(captured, tmp_path / "default", Lying(NearlyDouble()))
    assert found.refused_at == "verify"
    looser = Tolerances(float32=Tolerance(1e-4, 1e-2))
    found, variant = attempt(captured, tmp_path / "looser", Lying(NearlyDouble()), looser)
    assert (found.refused_at, found.reason) == (None, "")
    assert variant is not None


def test_exporting_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    net = Deep()
    predictor = Predictor(net)
    captured = capture(predictor, lambda net: net(torch.randn(2, 4)))
    net.train()
    net.layers[3].eval()
    flags = [part.training for part in net.modules()]
    attempt(captured, tmp_path)
    assert [part.training for part in net.modules()] == flags
    assert "forward" not in vars(net)


def test_an_exchanged_module_answers_the_same_and_counts(tmp_path: Path) -> None:
    predictor = Predictor(Deep())
    captured = capture(predictor, lambda net: net(torch.randn(3, 4)))
    x = torch.randn(5, 4)
    expected = predictor.net(x)["y"].detach()
    core = exchanged(predictor, captured, tmp_path)
    assert core.state == "compiled", core.reason
    found = predictor.net(x)
    torch.testing.assert_close(found["y"], expected, rtol=1e-4, atol=1e-5)
    found["y"][0] = -float("inf")
    torch.testing.assert_close(predictor.net(x)["y"], expected, rtol=1e-4, atol=1e-5)
    assert core.counts.compiled == 2
    assert core.counts.eager == {}


@pytest.mark.parametrize(
    ("call", "reason", "told"),
    [
        (
            lambda net: net(torch.randn(5, 4), torch.ones(4)),
            "other arguments",
            r"argument bias \(by position\) was in no call that was proven",
        ),
        (
            lambda net: net(torch.randn(65, 4)),
            "size outside the proven range",
            r"x is float32\[65, 4\]: size 65 of dimension 0, proven were \d to 64",
        ),
        (
            lambda net: net(torch.randn(2, 3, 4)),
            "other rank",
            r"x is float32\[2, 3, 4\], proven was float32\[\d to 64, 4\]",
        ),
        (
            lambda net: net(torch.randn(2, 4).requires_grad_()),
            "gradients wanted",
            r"gradients are wanted of it; with torch.no_grad\(\) around the call it runs compiled",
        ),
    ],
)
def test_what_was_not_proven_runs_eager(
    tmp_path: Path, call: Any, reason: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = Predictor(Deep())
    captured = capture(predictor, lambda net: net(torch.randn(3, 4)))
    core = exchanged(predictor, captured, tmp_path)
    torch.manual_seed(1)
    expected = type(predictor.net).forward  # the class's own
    torch.manual_seed(1)
    found = call(predictor.net)
    torch.manual_seed(1)
    own = call(lambda *args: expected(predictor.net, *args))
    torch.testing.assert_close(found["y"], own["y"])
    call(predictor.net)
    assert core.counts.eager == {reason: 2}
    (line,) = (line for line in caplog.messages if "runs eager" in line)
    assert re.fullmatch(f"module predictor.net: this call runs eager: {told}", line)


def test_an_empty_batch_that_was_not_proven_is_answered_by_the_module_itself(tmp_path: Path) -> None:
    predictor = Predictor(Deep())
    captured = capture(predictor, lambda net: net(torch.randn(3, 4)))
    core = exchanged(predictor, captured, tmp_path, smallest_batch=1)
    found = predictor.net(torch.randn(0, 4))["y"]
    assert (found.shape, found.dtype) == ((0, 4), torch.float32)
    assert core.counts.eager == {"size outside the proven range": 1}


def test_a_changed_attribute_runs_eager(tmp_path: Path) -> None:
    predictor = Predictor(Deep())
    core = exchanged(predictor, capture(predictor, lambda net: net(torch.randn(3, 4))), tmp_path)
    predictor.net.scale = 3.0  # type: ignore[assignment]
    x = torch.randn(2, 4)
    torch.testing.assert_close(predictor.net(x), Deep.forward(predictor.net, x))  # type: ignore[arg-type]
    assert core.counts.eager == {"changed attribute": 1}
    predictor.net.scale = 2.0  # type: ignore[assignment]
    predictor.net(x)
    assert core.counts.compiled == 1


def test_a_changed_tensor_that_is_an_attribute_runs_eager(tmp_path: Path) -> None:
    class Masked(Deep):
        def __init__(self) -> None:
            super().__init__()
            self.mask = torch.ones(4)

        def forward(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            return {"y": super().forward(x, bias)["y"] * self.mask}

    predictor = Predictor(Masked())
    core = exchanged(predictor, capture(predictor, lambda net: net(torch.randn(3, 4))), tmp_path)
    x = torch.randn(2, 4)
    predictor.net(x)
    assert core.counts.compiled == 1
    predictor.net.mask[0] = 0  # type: ignore[index, operator]
    assert predictor.net(x)["y"][0, 0] == 0
    predictor.net.mask = torch.zeros(4)
    assert not predictor.net(x)["y"].any()
    assert core.counts.eager == {"changed attribute": 2}


def test_an_engine_that_fails_is_replaced_by_eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cortex_compile.python_backend import onnxruntime_session

    predictor = Predictor(Deep())
    core = exchanged(predictor, capture(predictor, lambda net: net(torch.randn(3, 4))), tmp_path)

    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(onnxruntime_session.OnnxRuntimeSession, "run", fail)
    x = torch.randn(2, 4)
    torch.testing.assert_close(predictor.net(x), Deep.forward(predictor.net, x))  # type: ignore[arg-type]
    assert core.counts.eager == {"engine failed": 1}


def test_other_weights_stay_eager_with_the_reason(tmp_path: Path) -> None:
    predictor = Predictor(Deep())
    captured = capture(predictor, lambda net: net(torch.randn(3, 4)))
    found, variant = attempt(captured, tmp_path / "candidate")
    chosen = finish_core(
        captured, "net", "onnxruntime", [Candidate("net", "v0", found, variant, "candidate")], tmp_path, 1
    )
    manifest = Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), (chosen.core,), {})
    with torch.no_grad():
        predictor.net.layers[0].weight += 1  # type: ignore[index, union-attr, operator]
    (core,) = exchange_cores(predictor, USER_MODULE, manifest, chosen.folder, None)
    assert core.state == "eager"
    assert "weights differ" in core.reason


def test_weights_are_mapped_and_an_eager_call_is_right(tmp_path: Path) -> None:
    predictor = Predictor(Deep())
    captured = capture(predictor, lambda net: net(torch.randn(3, 4)))
    x = torch.randn(65, 4)  # beyond what was proven
    expected = predictor.net(x)["y"].detach().clone()
    before = predictor.net.layers[0].weight.data_ptr()  # type: ignore[index, union-attr]
    core = exchanged(predictor, captured, tmp_path)
    assert predictor.net.layers[0].weight.data_ptr() != before  # type: ignore[index, union-attr]
    torch.testing.assert_close(predictor.net(x)["y"], expected)
    assert core.counts.eager
    stored = (tmp_path / "cores" / "net" / "onnxruntime" / "weights.bin").read_bytes()
    with torch.no_grad():
        predictor.net.layers[0].weight.zero_()  # type: ignore[index, union-attr, operator]
    assert (tmp_path / "cores" / "net" / "onnxruntime" / "weights.bin").read_bytes() == stored
