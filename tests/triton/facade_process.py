"""A facade as a process of its own, in front of a Triton that runs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from cortex_compile.facade.api_route import ApiRoute


@dataclass(frozen=True)
class Facade:
    """A running one; ``http`` has its address as base."""

    http: httpx.Client
    process: subprocess.Popen[str]
    port: int

    def stop(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.communicate()


def facade_command(
    grpc_address: str, apis: Sequence[ApiRoute], metrics_address: str = "", http_address: str = ""
) -> list[str]:
    """What starts a facade for APIs of a running Triton, as a process of its own."""
    script = str(Path(__file__).with_name("run_facade.py"))
    told = json.dumps([dataclasses.asdict(api) for api in apis])
    return [sys.executable, script, grpc_address, told, metrics_address, http_address]


def start_facade(
    grpc_address: str,
    apis: Sequence[ApiRoute],
    stderr: Path | None = None,
    metrics_address: str = "",
    http_address: str = "",
) -> Facade:
    """Start a facade for APIs of a running Triton; to be stopped."""
    command = facade_command(grpc_address, apis, metrics_address, http_address)
    with open(stderr or "/dev/stderr", "a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors if stderr else None, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    return Facade(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30), process, port)


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """A figure of /metrics."""
    value, said = _read_metric(client, name, labels)
    assert value is not None, f"no {name} {labels} in {said}"
    return value


def wait_for_metric(client: httpx.Client, expected: float, name: str, **labels: str) -> None:
    """Wait until a figure of /metrics, which may not be there yet, is ``expected``; at most 30 s."""
    deadline = time.monotonic() + 30
    while True:
        value, said = _read_metric(client, name, labels)
        if value == expected:
            return
        assert time.monotonic() < deadline, f"{name} {labels} is {value}, not {expected}, in {said}"
        time.sleep(0.1)


def _read_metric(client: httpx.Client, name: str, labels: dict[str, str]) -> tuple[float | None, str]:
    said = client.get("/metrics").text
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value, said
    return None, said
