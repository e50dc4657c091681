"""Requests that share calls of a real predictor: each gets its own answer, error and status."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.facade.api_route import ApiRoute

from .conftest import RunningServer
from .facade_process import start_facade
from .predictor_build import ROOT, predictor_build

CLIENTS, ASKED = 64, 5000


def test_each_request_gets_its_own_answer_in_fewer_calls(
    start_server: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.ownership.load import ask_all

    server = start_server(predictor_build(tmp_path, "served", config={"greeting": "hello"}))
    apis = [ApiRoute("served", "/served", 1024, shared_calls=1)]
    # As `serve` does: calls that requests share go over HTTP, of which some clients leave here, too.
    facade = start_facade(server.endpoints.grpc, apis, http_address=server.endpoints.http)
    try:
        found = asyncio.run(ask_all(str(facade.http.base_url), _questions(), CLIENTS))
    finally:
        facade.stop()
    assert found.wrong == []
    assert found.lost == []
    assert found.left > 0
    assert found.asked == ASKED
    calls = _calls(server.endpoints.metrics)
    # Each call of a facade that shares none would be one request.
    assert calls < 0.7 * ASKED


def _questions() -> Iterator[Any]:
    """A number each, now and then with an error, a delay or a client that leaves."""
    from benchmarks.ownership.load import Question

    chance = random.Random(0)
    for number in range(ASKED):
        asked, kind = {"number": number}, chance.random()
        body, status, patience_s = json.dumps(asked), 200, None
        if kind < 0.02:
            patience_s = 0.001
        elif kind < 0.05:
            body, status = f"{{{number}", 400
        elif kind < 0.07:
            body, status = json.dumps({"do": "fail"}), 500
        elif kind < 0.08:
            asked = {**asked, "wait_s": 0.003}
            body = json.dumps(asked)
        yield Question("/served", body.encode(), _is_mine(asked, status), patience_s)


def _is_mine(asked: dict[str, Any], expected: int) -> Callable[[int, bytes], bool]:
    return lambda status, body: status == expected and (expected != 200 or json.loads(body)["payload"] == asked)


def _calls(metrics: str) -> int:
    """How many calls the predictor's model was asked, by Triton's own count."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(
        round(float(line.rpartition(" ")[2])) for line in lines if line.startswith("nv_inference_request_success{")
    )
