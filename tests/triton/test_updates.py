"""Builds that take each other's place on a real server: under load nothing is lost, and what is bad is refused."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.cli.update import update_server
from cortex_compile.errors import CortexCompileError

from .predictor_build import ROOT, write_build, write_model
from .processes import processes_of, wait_until

COMMAND = [sys.executable, "-m", "cortex_compile"]
FREE_PORTS = ["--port", "0", "--triton-http-port", "0", "--triton-grpc-port", "0", "--triton-metrics-port", "0"]

# It answers which build it is, after a moment in which it is at the request, and reads that from its folder each time.
PREDICTOR = """
import time
from pathlib import Path

class PythonPredictor:
    def __init__(self, config):
        {init}

    def predict(self, payload):
        {predict}
        time.sleep(payload.get("sleep", 0.002))
        return {{"build": Path("build.txt").read_text(), "asked": payload.get("id")}}
"""


def write(folder: Path, build: str, init: str = "pass", predict: str = "pass", **settings: Any) -> Path:
    """A build of the API ``api``, which answers that it is ``build``; its one sample is to be answered with 200."""
    vector, sizes = ("UINT8", [-1]), ("INT64", [2, -1])
    version = write_model(
        folder / "model_repository",
        "api",
        {"payload": vector, "context": vector, "_sizes": sizes},
        {"response": vector, "status": vector, "_sizes": sizes},
        ROOT / "model_repo_template" / "model.py",
    )
    (version / "project").mkdir()
    (version / "project" / "predictor.py").write_text(PREDICTOR.format(init=init, predict=predict))
    (version / "project" / "build.txt").write_text(build)
    (version / "project" / "sample.json").write_text('{"sample": true}')
    (folder / "report.json").write_text('{"samples": [{"name": "sample.json", "status_code": 200}]}')
    return write_build(folder, "api", **settings)


@dataclass(frozen=True)
class Serving:
    """A `serve` that is ready."""

    process: subprocess.Popen[str]
    url: str
    errors: Path

    def ask(self, question: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request("POST", "/", json.dumps(question or {}), {"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            return json.loads(body)
        finally:
            connection.close()

    def command(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        name, *arguments = map(str, words)
        return subprocess.run([*COMMAND, name, self.url, *arguments], capture_output=True, text=True, timeout=100)


@pytest.fixture
def serve(installed_server: None, tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> Serving:
        errors = tmp_path / "stderr"
        with errors.open("w") as file:
            command = [*COMMAND, "serve", *map(str, arguments), *FREE_PORTS]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True)
        processes.append(process)
        assert process.stdout is not None
        found = re.search(r"http://[^/]+", process.stdout.readline())
        assert found is not None, errors.read_text()
        return Serving(process, found[0], errors)

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
            process.communicate()


def test_under_load_updates_lose_nothing_and_rollback_goes_back(serve: Callable[..., Serving], tmp_path: Path) -> None:
    serving = serve(write(tmp_path / "0", "0"))
    assert serving.ask()["build"] == "0"
    seen: Counter[str] = Counter()
    wrong: list[object] = []
    ends = threading.Event()

    def keep_asking(client: int) -> None:
        for number in range(10**9):
            if ends.is_set():
                return
            try:
                answer = serving.ask({"id": [client, number]})
                seen[answer["build"]] += 1
                if answer["asked"] != [client, number]:
                    wrong.append(answer)
            except Exception as error:
                wrong.append(error)

    clients = [threading.Thread(target=keep_asking, args=(client,)) for client in range(4)]
    for each in clients:
        each.start()
    try:
        for number in range(1, 5):
            update_server(serving.url, write(tmp_path / str(number), str(number)))
            # Whoever asks from now on is answered by it, and each has answered some.
            assert serving.ask()["build"] == str(number)
            assert wait_until(lambda number=number: seen[str(number)] > 10, timeout_s=20)  # type: ignore[misc]
        done = serving.command("rollback", "api")
        assert done.returncode == 0, done.stderr
        assert serving.ask()["build"] == "3"
    finally:
        ends.set()
        for each in clients:
            each.join()
    assert wrong == []
    # Of each build only what serves is left, and the one to go back to.
    (folder,) = tmp_path.glob(".0.served-*")
    assert sorted(entry.name for entry in folder.iterdir()) == ["5", "6", "lock", "models"]
    assert len(_stubs_of(serving)) == 1

    os.kill(serving.process.pid, signal.SIGKILL)
    assert wait_until(lambda: not folder.exists(), timeout_s=10)


def test_a_build_that_cannot_serve_is_refused_and_the_old_one_goes_on(
    serve: Callable[..., Serving], tmp_path: Path
) -> None:
    serving = serve(write(tmp_path / "good", "good"))
    second_load = f"""
        mark = Path({str(tmp_path / "loaded")!r})
        if mark.exists(): raise ValueError("no second time")
        mark.touch()""".strip()
    damaged = write(tmp_path / "damaged", "damaged")
    (damaged / "model_repository" / "api" / "1" / "project" / "build.txt").write_text("other")
    refused = {
        damaged: "build.txt: was changed after compiling",
        write(tmp_path / "unloadable", "x", init='raise ValueError("no weights")'): "no weights",
        write(tmp_path / "unable", "x", predict="1 / 0"): "answered its sample 'sample.json' with 500, where 200",
        write(
            tmp_path / "dying", "x", predict="import os; os._exit(3)"
        ): "a process of 'api' died at its sample 'sample.json'",
        write(tmp_path / "once", "x", init=second_load): "no second time",
        write(tmp_path / "streams", "x", streaming=True): "streams",
    }
    for build, why in refused.items():
        with pytest.raises(CortexCompileError) as refusal:
            update_server(serving.url, build)
        assert why in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert serving.ask()["build"] == "good", build
        assert http_status(serving, "/readyz") == 200
    done = serving.command("rollback", "api")
    assert done.returncode == 2
    assert "'api' was not updated since it is served" in done.stderr
    done = serving.command("update", damaged)
    assert done.returncode == 1
    assert "build.txt: was changed after compiling" in done.stderr.splitlines()[-1]
    done = serving.command("update", write(tmp_path / "better", "better"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{serving.url} serves {tmp_path / 'better'}.\n"
    assert serving.ask()["build"] == "better"
    assert "its process" not in serving.errors.read_text()  # what was only tried is not what is repaired


def test_a_watched_build_is_updated_and_the_name_in_triton_is_the_new_one(
    serve: Callable[..., Serving], tmp_path: Path
) -> None:
    build = write(tmp_path / "build", "first")
    serving = serve(build, "--watch")
    assert serving.ask()["build"] == "first"
    write(tmp_path / "new", "second", endpoint="/elsewhere")
    # As compiling does it.
    build.rename(tmp_path / "old")
    (tmp_path / "new").rename(build)
    for path in sorted((tmp_path / "old").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert serving.ask()["build"] == "first"
    assert wait_until(lambda: "Updated." in serving.errors.read_text(), timeout_s=40), serving.errors.read_text()
    assert serving.ask()["build"] == "second"
    assert http_status(serving, "/elsewhere") == 200
    assert http_status(serving, "/api") == 404

    # What serves after tritonserver had to be started again is the new one, too.
    server = _server_of(serving)
    os.kill(server, signal.SIGKILL)
    assert wait_until(lambda: "Triton: ready again" in serving.errors.read_text(), timeout_s=40)
    assert serving.ask()["build"] == "second"


def http_status(serving: Serving, path: str) -> int:
    connection = http.client.HTTPConnection(serving.url.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _server_of(serving: Serving) -> int:
    (server,) = [pid for keeper in _children(serving.process.pid) for pid in _children(keeper)]
    return server


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _stubs_of(serving: Serving) -> list[int]:
    server = _server_of(serving)
    return [pid for pid in processes_of(server) if pid != server]
