"""What else ONNX Runtime could do with a graph of a build, measured beside what is done: docs/precision.md has figures.

    python benchmarks/onnxruntime_ways.py build/NAME/model_repository/NAME/1/cores/CORE/v0.onnx 1,20 [8,64 …]

Each argument after the graph gives the sizes of its varying dimensions, in the order in which they first occur. One
thread; the ways take turns in short windows, in another order each round.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

ROUNDS, WINDOW_S = 40, 0.05

_DISABLED = "optimization.disable_specified_optimizers"

Feeds = dict[str, "np.ndarray[Any, Any]"]


def open_session(graph: Path, change: Callable[[Any], None] = lambda _: None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(
        _DISABLED, "SkipLayerNormFusion;BiasGeluFusion"
    )  # as onnxruntime_session.py has it
    change(options)
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def open_ways(graph: Path, work: Path) -> dict[str, Any]:
    """By name. "as it is" stands twice: how far the two are apart is what the machine's noise is."""
    ways = {"as it is": open_session(graph), "as it is, again": open_session(graph)}
    ways["all fusions"] = open_session(graph, lambda options: options.add_session_config_entry(_DISABLED, ""))
    ways["no arena"] = open_session(graph, lambda options: setattr(options, "enable_cpu_mem_arena", False))
    ways["no memory pattern"] = open_session(graph, lambda options: setattr(options, "enable_mem_pattern", False))
    ways["denormals as zero"] = open_session(
        graph, lambda options: options.add_session_config_entry("session.set_denormal_as_zero", "1")
    )
    for kind in ("bert", "gpt2", "bart"):
        ways[f"fused as {kind}"] = open_session(fuse(graph, kind, work))
    for precision in ("int8", "fp16"):
        ways[precision] = open_session(reduce(graph, precision, work))
    return ways


def fuse(graph: Path, kind: str, work: Path) -> Path:
    from onnxruntime.transformers.optimizer import optimize_model

    path = work / f"{kind}.onnx"
    optimize_model(str(graph), kind, opt_level=0).save_model_to_file(str(path), use_external_data_format=True)
    return path


def reduce(graph: Path, precision: str, work: Path) -> Path:
    from cortex_compile.backends.onnxruntime.reduce_precision import reduce_precision
    from cortex_compile.backends.protocol import ExportedGraph

    folder = work / precision
    folder.mkdir()
    copy = folder / "fp32.onnx"  # quantizing writes into its source
    onnx.save(onnx.load(graph), copy, save_as_external_data=True, location="fp32.data")
    reduced = reduce_precision(ExportedGraph(copy, (), (), ()), precision, folder)
    assert isinstance(reduced, ExportedGraph), reduced
    return reduced.graph


def make_feeds(session: Any, sizes: list[int]) -> Feeds:
    known: dict[str, int] = {}
    feeds: Feeds = {}
    values = np.random.default_rng(0)
    for tensor in session.get_inputs():
        shape = []
        for size in tensor.shape:
            if isinstance(size, str) and size not in known:
                known[size] = sizes[len(known)]
            shape.append(known.get(size, size))
        if tensor.type == "tensor(float)":
            feeds[tensor.name] = values.standard_normal(shape).astype(np.float32)
        elif "mask" in tensor.name:
            feeds[tensor.name] = np.ones(shape, np.int64)
        else:  # ids of tokens, of which any model has two
            feeds[tensor.name] = values.integers(0, 2, shape)
    return feeds


def measure(ways: dict[str, Any], feeds: Feeds) -> dict[str, float]:
    """Medians in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, session in random.sample(sorted(ways.items()), len(ways)):
            until = time.perf_counter() + WINDOW_S
            while (started := time.perf_counter()) < until:
                session.run(None, feeds)
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    graph = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        ways = open_ways(graph, Path(work))
        for text in sys.argv[2:]:
            feeds = make_feeds(ways["as it is"], [int(size) for size in text.split(",")])
            found = measure(ways, feeds)
            print(f"sizes {text}:")
            for name, median in found.items():
                print(f"  {name:20} {median:9.3f} ms  {found['as it is'] / median:5.2f}×")


if __name__ == "__main__":
    main()
