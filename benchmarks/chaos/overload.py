"""Five times as many requests as the predictor can answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence

import aiohttp

from .processes import resident_bytes
from .server import Server
from .stage import Fault, Stage
from .traffic import Sent, Traffic, ask

__all__ = ["FAULTS"]

_MIB = 2**20


def _overload(stage: Stage) -> None:
    server = stage.server
    before = _memory(server)
    sent = _five_times(stage, server, "slow", statuses=(503, 429))
    grown = (_memory(server) - before) / _MIB
    refused = sorted(each.ended - each.began for each in sent if each.kind == "error")
    late = refused[int(0.99 * len(refused))] if refused else float("inf")
    stage.check("99 % of the refusals come within 100 ms", f"{1000 * late:.0f} ms, {len(refused)} refused", late <= 0.1)
    stage.check("memory is bounded", f"{grown:+.0f} MiB", grown < 64)
    time.sleep(2.0)
    with Traffic(server.url, ["slow"], clients=1) as after:
        time.sleep(2.0)
    stage.record(after.sent)
    slowest = max(each.ended - each.began for each in after.sent)
    normal = all(each.kind == "right" for each in after.sent)
    stage.check("normal 2 s later", f"slowest {1000 * slowest:.0f} ms", normal and slowest < 1.0)


def _long_queue(stage: Stage) -> None:
    with stage.own_server(stage.new_server("crowded")) as server:
        _five_times(stage, server, "crowded", statuses=(503, 429, 504))


def _five_times(stage: Stage, server: Server, api: str, statuses: Sequence[int]) -> list[Sent]:
    most = _most_a_second(stage, server, api)
    sent = asyncio.run(_open_loop(server, api, 5 * most, 10.0 if stage.quick else 60.0))
    stage.record(sent, statuses)
    good = sum(each.kind == "right" for each in sent) / (max(each.ended for each in sent) - sent[0].began)
    stage.check("goodput is at least 90 % of the maximum", f"{good:.0f} of {most:.0f} a second", good >= 0.9 * most)
    return sent


def _most_a_second(stage: Stage, server: Server, api: str) -> float:
    with Traffic(server.url, [api], clients=16, pause_s=0.0) as traffic:
        time.sleep(1.0)
        began = time.monotonic()
        time.sleep(3.0)
        ended = time.monotonic()
    stage.record(traffic.sent)
    return sum(each.kind == "right" and began <= each.ended < ended for each in traffic.sent) / (ended - began)


async def _open_loop(server: Server, api: str, rate: float, seconds: float) -> list[Sent]:
    """As independent clients come: at random, whatever became of the others."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    ) as session:
        tasks = []
        for number, due in enumerate(_moments(rate, time.monotonic(), seconds), start=10**9):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(ask(session, f"{server.url}/{api}", api, number)))
        return list(await asyncio.gather(*tasks))


def _moments(rate: float, start: float, seconds: float) -> Iterator[float]:
    chance, due = random.Random(0), start
    while (due := due + chance.expovariate(rate)) < start + seconds:
        yield due


def _memory(server: Server) -> int:
    pids = [server.process.pid, *(process.pid for process in server.processes())]
    return sum(map(resident_bytes, pids))


FAULTS = [
    Fault(
        "overload",
        "five times as many requests as one predictor answers, for 60 s; 64 may wait for it",
        "goodput ≥ 90 % of the maximum, the rest 503 or 429 within 100 ms, memory bounded, normal 2 s later",
        _overload,
    ),
    Fault(
        "overload of a long queue",
        "as above, where a thousand may wait, 20 times as many as are answered within the time-out",
        "goodput ≥ 90 % of the maximum: what would be over too late is not begun",
        _long_queue,
    ),
]
