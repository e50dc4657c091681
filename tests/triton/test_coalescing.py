"""Requests that share calls of a real predictor: each gets its own answer, error and status."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp

from cortex_compile.facade.api_route import ApiRoute

from .conftest import RunningServer
from .facade_process import start_facade
from .predictor_build import predictor_build

CLIENTS, ASKED = 64, 2000


def test_each_request_gets_its_own_answer_in_fewer_calls(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start_server(predictor_build(tmp_path, "served", config={"greeting": "hello"}))
    facade = start_facade(server.endpoints.grpc, [ApiRoute("served", "/served", 1024, shared_calls=1)])
    try:
        wrong, left = asyncio.run(_ask_all(str(facade.http.base_url)))
    finally:
        facade.stop()
    assert wrong == []
    assert left > 0
    calls = _calls(server.endpoints.metrics)
    # Each call of a facade that shares none would be one request.
    assert calls < 0.7 * ASKED


async def _ask_all(base_url: str) -> tuple[list[str], int]:
    """What was answered otherwise than asked for, and how many clients did not wait for their answer."""
    wrong: list[str] = []
    left = 0
    numbers = iter(range(ASKED))
    chance = random.Random(0)

    async def ask(http: aiohttp.ClientSession, body: object, timeout_s: float = 60.0) -> tuple[int, str]:
        text = body if isinstance(body, str) else json.dumps(body)
        timeout = aiohttp.ClientTimeout(timeout_s)
        headers = {"content-type": "application/json"}
        async with http.post("/served", data=text, headers=headers, timeout=timeout) as response:
            return response.status, await response.text()

    async def client(http: aiohttp.ClientSession) -> None:
        nonlocal left
        for number in numbers:
            asked, kind = {"number": number}, chance.random()
            if kind < 0.02:
                try:
                    await ask(http, asked, timeout_s=0.001)
                except TimeoutError:
                    left += 1
                continue
            body, expected = asked, 200
            if kind < 0.05:
                body, expected = f"{{{number}", 400
            elif kind < 0.07:
                body, expected = {"do": "fail"}, 500
            status, text = await ask(http, body)
            if status != expected or (expected == 200 and json.loads(text)["payload"] != asked):
                wrong.append(f"{number}: {status} {text}")

    async with aiohttp.ClientSession(base_url, connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return wrong, left


def _calls(metrics: str) -> int:
    """How many calls the predictor's model was asked, by Triton's own count."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(
        round(float(line.rpartition(" ")[2])) for line in lines if line.startswith("nv_inference_request_success{")
    )
