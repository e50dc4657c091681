"""Examples compiled for the CPU, served with their cores on the GPU by the embedded server, and two APIs that compete.

The predictor itself goes to the GPU as its file says (``device=0 if torch.cuda.is_available() else -1``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.launchers.server_folder import PreparedServer, prepare_embedded_server
from cortex_compile.python_backend.manifest import read_manifest

from .results import ExampleRow, ScheduleRow

EXAMPLES = Path(__file__).parents[2] / "examples"
# With JSON samples, and models that come with the repository.
NAMES = ("iris-classifier", "batch-scorer", "text-analyzer")
_QUERIES = {"text-analyzer": "model=sentiment"}
_COMPETING = "text-analyzer"
_EXECUTIONS = 400


def compile_example(name: str, folder: Path, api: str, priority: int = 1) -> Path:
    """Its build, with every module that can be in a Triton model of its own."""
    project = folder / f"{api}-project"
    subprocess.run(["cp", "-r", EXAMPLES / name, project], check=True)
    _ask_for_priority(project / "cortex.yaml", priority)
    command = [sys.executable, "-m", "cortex_compile", project / "predictor.py", "--name", api]
    options = ["--placement", "remote", "--device", "cpu", "--output", folder / api]
    subprocess.run([*command, *options], check=True, cwd=project)
    return folder / api


def _ask_for_priority(file: Path, priority: int) -> None:
    import yaml

    apis = yaml.safe_load(file.read_text())
    apis[0].setdefault("compile", {})["gpu"] = {"priority": priority}
    file.write_text(yaml.safe_dump(apis))


def check_examples() -> Iterator[ExampleRow]:
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            build = compile_example(name, Path(folder), name)
            remote = [core for core in read_manifest(build / "manifest.json").cores if core.placement == "remote"]
            with served([build], "cpu") as triton:
                on_cpu = [answer(triton, name, body, _QUERIES.get(name, "")) for body in samples_of(name)]
            with served([build], "gpu") as triton:
                on_gpu = [answer(triton, name, body, _QUERIES.get(name, "")) for body in samples_of(name)]
            distances = [distance(*pair) for pair in zip(on_cpu, on_gpu, strict=True)]
            equal = sum(each <= 1e-3 for each in distances)
            yield ExampleRow(name, len(distances), equal, max(distances), len(remote))


def check_schedule() -> Iterator[ScheduleRow]:
    """Twelve clients for each of two APIs, until their cores ran often enough together."""
    with tempfile.TemporaryDirectory() as folder:
        builds = [compile_example(_COMPETING, Path(folder), f"api-{number}", number) for number in (1, 2)]
        cores = [read_manifest(build / "manifest.json").gpu_memory for build in builds]
        if not all(cores):
            raise RuntimeError(
                f"{_COMPETING} was compiled to no Triton model: on the CPU here none was faster than eager"
            )
        models = [each[0].model for each in cores]
        body, query = samples_of(_COMPETING)[0], _QUERIES[_COMPETING]
        with served(builds, "gpu") as triton:
            enough = threading.Event()
            names = ("api-1", "api-2") * 12
            clients = [threading.Thread(target=_ask_until, args=(enough, triton, name, body, query)) for name in names]
            for thread in clients:
                thread.start()
            counts = (0, 0)
            while sum(counts) < _EXECUTIONS and any(thread.is_alive() for thread in clients):
                enough.wait(0.2)
                counts = (executions(triton, models[0]), executions(triton, models[1]))
            enough.set()
            for thread in clients:
                thread.join()
        yield ScheduleRow((1, 2), counts)


@contextmanager
def served(builds: list[Path], hardware: str) -> Iterator[Any]:
    """A client of the embedded server. For the CPU it sees no GPU, nor does the predictor."""
    import tritonclient.grpc

    def prepare(root: Path) -> PreparedServer:
        server = prepare_embedded_server(root)
        hidden = {} if hardware == "gpu" else {"CUDA_VISIBLE_DEVICES": ""}
        return replace(server, hardware=hardware, environment={**server.environment, **hidden})

    server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0, log=_show, prepare=prepare)
    endpoints = server.start()
    try:
        client = tritonclient.grpc.InferenceServerClient(endpoints.grpc)
        try:
            yield client
        finally:
            client.close()
    finally:
        server.stop()


def samples_of(name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((EXAMPLES / name).glob("sample*.json"))]


def answer(triton: Any, model: str, body: bytes, query: str = "") -> Any:
    """What the predictor answers: what its JSON says, or its text.

    Raises:
        RuntimeError: it is no success.
    """
    import numpy as np
    import tritonclient.grpc

    context = json.dumps({"content_type": "application/json", "query_string": query}).encode()
    inputs = []
    for name, content in (("payload", body), ("context", context)):
        inputs.append(tritonclient.grpc.InferInput(name, [len(content)], "UINT8"))
        inputs[-1].set_data_from_numpy(np.frombuffer(content, np.uint8))
    result = triton.infer(model, inputs)
    status = json.loads(result.as_numpy("status").tobytes())
    if status["status_code"] >= 400:
        raise RuntimeError(f"{model} answered {status['status_code']}")
    text = result.as_numpy("response").tobytes().decode()
    return json.loads(text) if "json" in dict(status["headers"]).get("content-type", "") else text


def distance(expected: Any, found: Any) -> float:
    """The worst difference of numbers, relative where they are above 1; infinite where something else differs."""
    if isinstance(expected, bool) or not isinstance(expected, (int, float, list, dict)):
        return 0.0 if expected == found else float("inf")
    if isinstance(expected, (int, float)):
        if not isinstance(found, (int, float)):
            return float("inf")
        return abs(expected - found) / max(1.0, abs(expected))
    if type(expected) is not type(found) or len(expected) != len(found):
        return float("inf")
    if isinstance(expected, dict):
        if expected.keys() != found.keys():
            return float("inf")
        return max((distance(expected[key], found[key]) for key in expected), default=0.0)
    return max((distance(*pair) for pair in zip(expected, found, strict=True)), default=0.0)


def executions(triton: Any, model: str) -> int:
    return int(triton.get_inference_statistics(model).model_stats[0].execution_count)


def _ask_until(enough: threading.Event, triton: Any, model: str, body: bytes, query: str) -> None:
    while not enough.is_set():
        answer(triton, model, body, query)


def _show(line: str) -> None:
    if os.environ.get("GPU_CHECK_LOG"):
        print(line, file=sys.stderr)
