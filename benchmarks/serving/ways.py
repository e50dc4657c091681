"""``python -m benchmarks.serving.ways``: the two ways to Triton, gRPC and HTTP, in turn on one server, the same calls.

What the facade takes of the one or the other shows here alone, without HTTP in front of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import time
from collections.abc import Awaitable, Callable

import click
import uvloop

from cortex_compile.facade.service import context_of
from cortex_compile.facade.triton_client import TritonPredictorClient
from cortex_compile.launchers.embedded import EmbeddedServer

from .builds import build_of
from .peer_servers import Setting
from .processes import cpu_s, family
from .servers import cores_of
from .workloads import ONE_CORE, WORKLOADS, encode_payload

_ROUNDS, _SECONDS = 5, 1.5


@click.command()
@click.option("--kib", default=0, help="Of each request; 0 asks with the workload's own.")
def main(kib: int) -> None:
    workload = WORKLOADS["no-op"]
    build = build_of(workload, Setting(1, 1, 1), cores_of(ONE_CORE))
    server = EmbeddedServer([build], http_port=0, grpc_port=0, metrics_port=0)
    endpoints = server.start()
    try:
        uvloop.run(_compare(workload.name, endpoints.grpc, endpoints.http, kib))
    finally:
        server.stop()


async def _compare(model: str, grpc_address: str, http_address: str, kib: int) -> None:
    client = TritonPredictorClient(grpc_address, 2**31 - 1, http_address)
    body, content_type = encode_payload("json", WORKLOADS[model].payloads()[0])
    if kib:
        body, content_type = os.urandom(1024 * kib), "application/octet-stream"
    headers = [(b"host", b"127.0.0.1:8888"), (b"accept", b"*/*"), (b"content-type", content_type.encode())]
    call = (model, [body], [context_of(b"", headers, 60.0)], 60.0)
    ways = {"gRPC": lambda: client.predict_many(*call), "HTTP": lambda: client.predict_quickly(*call)}
    try:
        for clients in (1, 32):
            found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
            for number in range(_ROUNDS):
                for name in list(ways)[:: -1 if number % 2 else 1]:
                    found[name].append(await _measure(ways[name], clients))
            for figure in ("p50_ms", "own_cpu_ms", "server_cpu_ms"):
                medians = {name: statistics.median(each[figure] for each in rounds) for name, rounds in found.items()}
                ratios = [http[figure] / grpc[figure] for http, grpc in zip(found["HTTP"], found["gRPC"], strict=True)]
                told = ", ".join(f"{name} {value:.3f}" for name, value in medians.items())
                print(
                    f"{clients} at a time, {figure}: {told}, HTTP is {statistics.median(ratios):.2f}× gRPC", flush=True
                )
    finally:
        await client.close()


async def _measure(ask: Callable[[], Awaitable[object]], clients: int) -> dict[str, float]:
    latencies: list[float] = []
    others = [pid for pid in family(os.getpid()) if pid != os.getpid()]
    before, own, began = cpu_s(others), _own_cpu_s(), time.perf_counter()

    async def client() -> None:
        while (now := time.perf_counter()) < began + _SECONDS:
            await ask()
            latencies.append(time.perf_counter() - now)

    await asyncio.gather(*(client() for _ in range(clients)))
    return {
        "p50_ms": 1000 * statistics.median(latencies),
        "own_cpu_ms": 1000 * (_own_cpu_s() - own) / len(latencies),
        "server_cpu_ms": 1000 * (cpu_s(others) - before) / len(latencies),
    }


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps({"rounds": _ROUNDS, "seconds": _SECONDS}))
    main()
