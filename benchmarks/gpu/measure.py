"""Modules by themselves on the GPU, eager and compiled, timed by the device: batches of 1 to 64.

Eager runs without TF32, as what is compiled does. ONNX Runtime is given torch's own memory, as its backend in Triton is
given Triton's.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cortex_compile.backends.protocol import ExportRequest, Refused, SizeProfile
from cortex_compile.backends.registry import find_engine

from .results import ModuleRow

BATCHES = (1, 2, 4, 8, 16, 32, 64)
_WARM_UP, _ROUNDS = 5, 30
_ABSOLUTE, _RELATIVE = 1e-4, 1e-3

Run = Callable[[torch.Tensor], torch.Tensor]


class Encoder(nn.Module):
    """Six layers as wide as MiniLM's, on embeddings of 128 tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(384, 12, 1536, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.layers(tensors[0]),)


class Convolutions(nn.Module):
    """Of images of 96 pixels a side."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 32), (32, 64), (64, 128), (128, 256)]
        blocks = [nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU()) for i, o in sizes]
        self.layers = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.layers(tensors[0]),)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder, 128 tokens": (Encoder, (128, 384)),
    "convolutions, 96 × 96": (Convolutions, (3, 96, 96)),
}


def measure_modules(engines: tuple[str, ...]) -> Iterator[ModuleRow]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name, (make, shape) in MODULES.items():
        torch.manual_seed(0)
        module = make().eval()
        for engine in engines:
            with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                compiled = _compile(module, shape, engine, Path(folder))
                on_gpu = make().eval()
                on_gpu.load_state_dict(module.state_dict())
                yield from _measure(name, engine, module, on_gpu.cuda(), compiled, shape)


def _measure(
    name: str, engine: str, on_cpu: nn.Module, on_gpu: nn.Module, compiled: Run, shape: tuple[int, ...]
) -> Iterator[ModuleRow]:
    for batch in BATCHES:
        x = torch.randn(batch, *shape)
        given = x.cuda()
        expected = on_cpu(x)[0]
        excess = excess_of(expected, compiled(given).cpu())
        eager_ms = time_on_device(lambda given=given: on_gpu(given))  # type: ignore[misc]
        compiled_ms = time_on_device(lambda given=given: compiled(given))  # type: ignore[misc]
        yield ModuleRow(name, engine, batch, round(eager_ms, 4), round(compiled_ms, 4), round(excess, 4))


def excess_of(expected: torch.Tensor, found: torch.Tensor) -> float:
    """The worst difference as a share of what is tolerated."""
    return float(((expected - found).abs() / (_ABSOLUTE + _RELATIVE * expected.abs())).max())


def time_on_device(run: Callable[[], object]) -> float:
    """The median of milliseconds between two events on the device's stream."""
    for _ in range(_WARM_UP):
        run()
    times = []
    for _ in range(_ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def _compile(module: nn.Module, shape: tuple[int, ...], engine: str, folder: Path) -> Run:
    sizes = SizeProfile(((1, *shape),), ((8, *shape),), ((BATCHES[-1], *shape),))
    example = torch.randn(2, *shape)
    found = find_engine(engine)
    request = ExportRequest(module, (example,), ("x",), ("y",), frozenset({(0, 0)}), found.exporters[0], sizes)
    exported = found.export(request, folder)
    if isinstance(exported, Refused):
        raise RuntimeError(f"{engine}: {exported.reason}")
    if engine == "onnxruntime":
        return _on_cuda(exported.graph)
    session: Any = found.open_session(exported.graph, 1)
    return lambda x: session.run([x])[0]


def _on_cuda(graph: Path) -> Run:
    import numpy as np
    import onnxruntime

    options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    session = onnxruntime.InferenceSession(str(graph), providers=[("CUDAExecutionProvider", options)])

    def run(x: torch.Tensor) -> torch.Tensor:
        binding = session.io_binding()
        binding.bind_input("x", "cuda", 0, np.float32, tuple(x.shape), x.data_ptr())
        binding.bind_output("y", "cuda", 0)
        # ONNX Runtime has a stream of its own; the input must be there before, and the result after.
        torch.cuda.current_stream().synchronize()
        session.run_with_iobinding(binding)
        (result,) = binding.get_outputs()
        found: torch.Tensor = torch.utils.dlpack.from_dlpack(result._ortvalue.to_dlpack()).clone()
        return found

    return run
