"""What every engine owes: shown to be available, exports or refuses, computes what the module does, fresh results."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cortex_compile.backends import registry
from cortex_compile.backends.protocol import Available, Engine, ExportedGraph, ExportRequest, Refused, SizeProfile
from cortex_compile.errors import EngineError, UsageError


def example_engine() -> Engine:
    """The one that CONTRIBUTING.md shows."""
    file = Path(__file__).parents[1] / "example_engine" / "cortex_compile_frozen.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    engine: Engine = module.FrozenEngine()
    return engine


ON_A_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")]
ENGINES = [
    pytest.param(engine, id=engine.name, marks=ON_A_GPU if engine.name == "tensorrt" else [])
    for engine in (*registry.ENGINES, example_engine())
]
GRAPH_ENGINES = [each for each in ENGINES if each.id != "eager"]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 3))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.net(tensors[0])
        return y, y.argmax(-1)


class Branches(nn.Module):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (x,) = tensors
        return (x * 2 if x.sum() > 0 else x - 1,)


def request(module: nn.Module, engine: Engine) -> ExportRequest:
    names = ("y", "label") if isinstance(module, Model) else ("y",)
    exporter = engine.exporters[0] if engine.exporters else ""
    sizes = SizeProfile(((1, 8),), ((2, 8),), ((32, 8),))
    return ExportRequest(module.eval(), (torch.randn(2, 8),), ("x",), names, frozenset({(0, 0)}), exporter, sizes)


@pytest.mark.parametrize("engine", ENGINES)
def test_is_an_engine_and_available(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert engine.name.isidentifier()
    assert isinstance(engine.availability(), Available)


@pytest.mark.parametrize("engine", GRAPH_ENGINES)
def test_a_graph_computes_what_the_module_does_at_every_size(engine: Engine, tmp_path: Path) -> None:
    module = Model()
    exported = engine.export(request(module, engine), tmp_path)
    assert isinstance(exported, ExportedGraph)
    assert all(file.is_file() for file in exported.files)
    assert isinstance(exported.input_shapes[0][0], str)
    assert exported.input_shapes[0][1] == 8
    scores, labels = exported.output_shapes
    assert (len(scores), len(labels)) == (2, 1)
    assert isinstance(scores[0], str)
    assert isinstance(labels[0], str)
    session = engine.open_session(exported.graph, 1)
    for rows in (1, 2, 7):
        x = torch.randn(rows, 8)
        found, label = session.run([x.numpy()])
        expected, expected_label = module(x)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(label, expected_label.numpy())


@pytest.mark.parametrize("engine", GRAPH_ENGINES)
def test_results_are_fresh_and_writable(engine: Engine, tmp_path: Path) -> None:
    exported = engine.export(request(Model(), engine), tmp_path)
    assert isinstance(exported, ExportedGraph)
    session = engine.open_session(exported.graph, 1)
    x = np.ones((1, 8), np.float32)
    first, _ = session.run([x])
    kept = first.copy()
    first[:] = -1
    second, _ = session.run([x])
    np.testing.assert_array_equal(second, kept)
    assert (first == -1).all()
    assert (x == 1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_branch_on_values_is_refused_and_never_baked_in(engine: Engine, tmp_path: Path) -> None:
    refused = engine.export(request(Branches(), engine), tmp_path)
    assert isinstance(refused, Refused)
    assert refused.stage == "export"
    assert refused.reason


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_is_no_graph_is_an_engine_error(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        engine.open_session(file, 1)


def test_a_misspelt_engine_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        registry.find_engine("onnxrutime")
