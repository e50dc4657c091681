"""Runs of one thread beside each other: proven and measured where it is compiled, and right where it is served."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler import measure_candidate, measure_latency, measure_side_by_side
from cortex_compile.compiler.artifacts import Candidate
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.python_backend import exchange
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Dispatch, Manifest, SharedRun
from cortex_compile.python_backend.predict_threads import settle
from cortex_compile.python_backend.turn_threads import TurnThreads

from .compiling import USER_MODULE, Predictor
from .test_try_candidate import Deep, attempt, capture


class WrongWithOneThread:
    """An engine whose sessions of one thread answer otherwise than those of several."""

    def __getattr__(self, name: str) -> Any:
        return getattr(find_engine("onnxruntime"), name)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Any:
        session = find_engine("onnxruntime").open_session(graph, threads, pack_weights)
        if threads > 1:
            return session
        return SimpleNamespace(run=lambda inputs: [result + 1 for result in session.run(inputs)])


@pytest.fixture(autouse=True)
def measured_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_latency, "WINDOW_S", 0.001)
    monkeypatch.setattr(measure_side_by_side, "WINDOW_S", 0.001)
    monkeypatch.setattr(measure_candidate, "MINIMUM_SPEEDUP", 0.0)


def test_what_is_measured_beside_each_other_is_served_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(Deep())
    captured = capture(predictor, lambda net: net(torch.randn(3, 4)))
    found, variant = attempt(captured, tmp_path / "candidate", threads=2)
    assert variant is not None, found.reason
    assert [point.size for point in found.side_by_side] == [point.size for point in found.curves[0].points]
    assert all(point.ms > 0 for point in found.side_by_side)

    candidate = Candidate("net", "v0", found, variant, "candidate")
    chosen = finish_core(captured, "net", "onnxruntime", [candidate], tmp_path, 2)
    core = replace(chosen.core, call_ms=2.0, shared_run=SharedRun(8, 8, side_by_side_from=1))
    manifest = Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), (core,), {})
    manifest = replace(manifest, dispatch=Dispatch("passed turn", 32, None, 8, side_by_side=True))
    opened = []
    open_session = exchange.open_session

    def remember(engine: str, graph: Path, threads: int, **options: Any) -> Any:
        opened.append(threads)
        return open_session(engine, graph, threads, **options)

    monkeypatch.setattr(exchange, "open_session", remember)
    inputs = [torch.randn(1, 4) for _ in range(200)]
    expected = [predictor.net(tensor)["y"] for tensor in inputs]
    turn = TurnThreads(24, lambda: None)
    (exchanged,) = exchange.exchange_cores(predictor, USER_MODULE, manifest, chosen.folder, None, turn)
    assert (exchanged.state, opened) == ("compiled", [2, 1])
    asked = [Future[Any]() for _ in inputs]
    for outcome, tensor in zip(asked, inputs, strict=True):
        turn.submit(settle, outcome, predictor.net, (tensor,))
    for outcome, answer in zip(asked, expected, strict=True):
        torch.testing.assert_close(outcome.result(30)["y"], answer, atol=1e-4, rtol=1e-3)
    turn.shutdown()
    assert exchanged.counts.compiled == 200

    opened.clear()  # of a module that is not proven with one thread, beside another that is
    unproven = replace(core, shared_run=SharedRun(8, 8))
    exchange.exchange_cores(predictor, USER_MODULE, replace(manifest, cores=(unproven,)), chosen.folder, None, turn)
    assert opened == [2]


def test_a_graph_that_is_not_equal_with_one_thread_has_all_of_them(tmp_path: Path) -> None:
    captured = capture(Predictor(Deep()), lambda net: net(torch.randn(3, 4)))
    found, variant = attempt(captured, tmp_path, WrongWithOneThread(), threads=2)
    assert variant is not None, found.reason
    assert (len(found.curves), found.side_by_side) == (1, ())
