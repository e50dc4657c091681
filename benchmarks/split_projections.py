"""An encoder whose queries, keys and values come from one layer, as it is exported and as it is written: in turn.

    python benchmarks/split_projections.py

One thread of ONNX Runtime; windows in another order each round. ``backends/onnxruntime/split_projections.py`` is what
makes the difference.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from cortex_compile.backends.onnx_export import export_onnx
from cortex_compile.backends.onnxruntime.split_projections import split_projections
from cortex_compile.backends.protocol import ExportedGraph, ExportRequest, SizeProfile
from cortex_compile.python_backend.onnxruntime_session import OnnxRuntimeSession

ROUNDS, WINDOW_S, TOKENS = 40, 0.05, 29
WORKLOAD = Path(__file__).parent / "serving" / "workloads" / "encoder"


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}, one thread, {TOKENS} tokens")
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "as it is exported": open_session(Path(folder) / "exported"),
            "split": open_session(Path(folder) / "split", split_projections),
        }
        for batch in (1, 8, 16):
            ids, mask = np.random.randint(0, 30000, (batch, TOKENS)), np.ones((batch, TOKENS), np.int64)
            times = measure(ways, [ids, mask])
            first, second = ([1000 * each / batch for each in times[name]] for name in ways)
            ratio = statistics.median(after / before for before, after in zip(first, second, strict=True))
            print(
                f"batch {batch}: {statistics.median(first):.3f} ms a text as it is exported, "
                f"{statistics.median(second):.3f} split: {ratio:.3f} of the time"
            )


class InTuple(nn.Module):
    """Its result in a tuple, as the compiler asks for it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.eval()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.module(*inputs),)


def open_session(folder: Path, improve: Any = lambda model: None) -> OnnxRuntimeSession:
    sys.path.insert(0, str(WORKLOAD))
    from model import Encoder  # type: ignore[import-not-found]

    torch.manual_seed(0)
    folder.mkdir()
    examples = (torch.randint(0, 30000, (2, TOKENS)), torch.ones(2, TOKENS, dtype=torch.int64))
    axes = frozenset((index, axis) for index in range(2) for axis in range(2))
    shapes = tuple(tuple(example.shape) for example in examples)
    sizes = SizeProfile(shapes, shapes, shapes)
    request = ExportRequest(InTuple(Encoder()), examples, ("ids", "mask"), ("result",), axes, "dynamo", sizes)
    exported = export_onnx(request, folder, improve)
    assert isinstance(exported, ExportedGraph), exported
    return OnnxRuntimeSession(exported.graph, 1)


def measure(ways: dict[str, OnnxRuntimeSession], inputs: list[Any]) -> dict[str, list[float]]:
    """Seconds of a run, a median for each window."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name in random.sample(list(ways), len(ways)):
            window: list[float] = []
            ends_s = time.perf_counter() + WINDOW_S
            while (began_s := time.perf_counter()) < ends_s or not window:
                ways[name].run(inputs)
                window.append(time.perf_counter() - began_s)
            times[name].append(statistics.median(window))
    return times


if __name__ == "__main__":
    main()
