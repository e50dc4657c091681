"""What is measured once: the machine, the predictors by themselves, the engine in a loop, and idle APIs."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cortex_compile.launchers.large_pages import with_large_pages

from .answers import plain_answers
from .builds import build_of
from .peer_servers import Setting
from .processes import cpu_s, end, family, memory_of
from .results import Results
from .servers import OURS, cores_of
from .workloads import ONE_CORE, WORKLOADS, Workload

ENGINE_ROWS = 8
_IDLE_APIS = (1, 4, 16)
_IDLE_S = 10.0
_LOOP_S = 3.0


def measure_facts(workloads: Sequence[Workload], results: Results, again: bool) -> None:
    facts = results.facts
    facts["machine"] = {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "onnxruntime", "cortex-compile")},
    }
    loads = facts.setdefault("predictor_load_s", {})
    for workload in workloads:
        loads[workload.name] = round(plain_answers(workload.name).load_s, 2)
    if any(workload.name == "encoder" for workload in workloads) and (again or "engine_per_second" not in facts):
        facts["engine_per_second"] = run_engine()
    facts["weights_mib"] = {"encoder": _weights_mib(_encoder())}
    if any(workload.name == "no-op" for workload in workloads) and (again or "idle" not in facts):
        facts["idle"] = {str(count): _measure_idle(count) for count in _IDLE_APIS}
    results.write()


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _encoder() -> Path:
    """The build for one core."""
    return build_of(WORKLOADS["encoder"], Setting(1, 1, 1), cores_of(ONE_CORE))


def _weights_mib(build: Path) -> float:
    """Of the largest file of weights of each core."""
    folders = build.glob("model_repository/*/1/cores/*")
    return round(sum(max(file.stat().st_size for file in folder.iterdir()) for folder in folders) / 2**20, 1)


def run_engine() -> float:
    """Texts a second of the encoder's compiled module called in a loop on one core, with as many texts a call as the
    server has to answer at a time in the load that this is compared with."""
    code = f"""
import json, sys, time
sys.path.insert(0, {str(WORKLOADS["encoder"].path)!r})
from types import ModuleType, SimpleNamespace
import torch
from model import Model, tokenize
from cortex_compile.python_backend.exchange import exchange_cores
from cortex_compile.python_backend.manifest import read_manifest
from pathlib import Path
build = Path({str(_encoder())!r})
manifest = read_manifest(build / "manifest.json")
predictor = SimpleNamespace(model=Model())
cores = exchange_cores(predictor, ModuleType("none"), manifest, build / "model_repository" / manifest.name / "1", None)
ids = torch.tensor([tokenize({WORKLOADS["encoder"].payloads()[0]["text"]!r})] * {ENGINE_ROWS})
mask = torch.ones_like(ids)
with torch.inference_mode():
    for _ in range(5):
        predictor.model.net(ids, mask)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < {_LOOP_S}:
        predictor.model.net(ids, mask)
        count += 1
print(json.dumps([{ENGINE_ROWS} * count / (time.perf_counter() - began), [core.state for core in cores]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=with_large_pages(os.environ),  # as the server's processes have it
        preexec_fn=lambda: os.sched_setaffinity(0, cores_of(ONE_CORE)),
    )
    rate, states = json.loads(done.stdout.splitlines()[-1])
    if states != ["compiled"]:
        raise SystemExit(f"the encoder's engine did not come up: {states}")
    return round(rate, 2)


def _measure_idle(count: int) -> dict[str, Any]:
    """What a server with so many APIs takes while nobody asks."""
    builds = [
        build_of(WORKLOADS["no-op"], Setting(1, 1, 1), cores_of(ONE_CORE), name=f"idle-{number}")
        for number in range(count)
    ]
    with _served(builds) as pid:
        time.sleep(3.0)
        before = cpu_s(family(pid))
        time.sleep(_IDLE_S)
        used = (cpu_s(family(pid)) - before) / _IDLE_S
        memory = memory_of(family(pid))
    return {"cores": round(used, 4), "private_mib": memory.private_mib, "processes": memory.processes}


@contextlib.contextmanager
def _served(builds: list[Path]) -> Iterator[int]:
    ports = [f"--{name}=0" for name in ("port", "triton-http-port", "triton-grpc-port", "triton-metrics-port")]
    command = [sys.executable, "-m", "cortex_compile", "serve", *map(str, builds), *ports]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise SystemExit(f"{OURS} with {len(builds)} APIs ended before it was ready")
        yield process.pid
    finally:
        end(family(process.pid), 15.0)
        process.wait()
        process.stdout.close()
