"""`serve` and `predict` as processes, on the embedded server; what they print is what a person would use."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.server_folder import find_installed_server

from ..triton.facade_process import wait_for_metric
from ..triton.predictor_build import predictor_build
from ..triton.processes import processes_of, regions_of, wait_until
from ..triton.told_predictor import told_build

pytestmark = pytest.mark.triton

COMMAND = [sys.executable, "-m", "cortex_compile"]
FREE_PORTS = ["--port", "0", "--triton-http-port", "0", "--triton-grpc-port", "0", "--triton-metrics-port", "0"]


@pytest.fixture(scope="module", autouse=True)
def _installed_server() -> None:
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Serving:
    """A `serve` that is ready, and the lines it printed until then."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str]
    errors: Path


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, apis: int = 1) -> Serving:
        errors = tmp_path / f"stderr-{len(processes)}"
        with errors.open("w") as file:
            process = subprocess.Popen(
                [*COMMAND, "serve", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        processes.append(process)
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(2 * apis)]
        assert lines[0], errors.read_text()
        found = re.search(r"http://[^/]+", lines[0])
        assert found is not None
        return Serving(process, found[0], lines, errors)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _triton_of(process: subprocess.Popen[str]) -> int:
    """The process id of the server that a `serve` started: the only child of the one that keeps it."""
    (server,) = [server for keeper in _children_that_run(process.pid, "keep_server") for server in _children(keeper)]
    return server


def _children_that_run(pid: int, module: str) -> list[int]:
    return [child for child in _children(pid) if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]


def _children(pid: int) -> list[int]:
    return [
        int(child) for each in Path(f"/proc/{pid}/task").iterdir() for child in (each / "children").read_text().split()
    ]


def _fail(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False)


def test_serve_prints_a_curl_line_that_works_and_ends_at_sigterm(serve: Callable[..., Serving], tmp_path: Path) -> None:
    build = told_build(tmp_path / "api", "api", ("sample.json?echo=&b=it's", '{"text": "it\'s"}\n'))
    serving = serve(build, *FREE_PORTS)
    assert serving.lines[0] == f"api: {serving.url}/"

    asked = subprocess.run(["bash", "-c", serving.lines[1] + " -s"], capture_output=True, text=True, check=True)
    assert json.loads(asked.stdout) == {"text": "it's"}

    server = _triton_of(serving.process)
    assert processes_of(server)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(timeout=20) == 0
    assert processes_of(server) == []
    assert regions_of(serving.process.pid) == []
    assert "Traceback" not in serving.errors.read_text()


def test_a_sample_too_large_to_show_is_sent_from_its_file(serve: Callable[..., Serving], tmp_path: Path) -> None:
    text = json.dumps(["word"] * 500)
    serving = serve(told_build(tmp_path / "api", "api", ("sample.json?echo=", text)), *FREE_PORTS)
    asked = subprocess.run(["bash", "-c", serving.lines[1] + " -s"], capture_output=True, text=True, check=True)
    assert asked.stdout == text
    os.killpg(serving.process.pid, signal.SIGINT)  # as Ctrl-C does
    assert serving.process.wait(timeout=20) == 0
    told = serving.errors.read_text()
    assert "Stopped." in told
    assert "Fatal Python error" not in told


def test_two_apis_and_a_triton_that_dies(serve: Callable[..., Serving], tmp_path: Path) -> None:
    builds = [told_build(tmp_path / name, name, endpoint=f"/v1/{name}") for name in ("one", "two")]
    serving = serve(*builds, *FREE_PORTS, apis=2)
    assert [serving.lines[0], serving.lines[2]] == [f"{name}: {serving.url}/v1/{name}" for name in ("one", "two")]
    for line in (serving.lines[1], serving.lines[3]):
        asked = subprocess.run(["bash", "-c", line + " -s"], capture_output=True, text=True, check=True)
        assert json.loads(asked.stdout)["size"] == len("{}")
        assert json.loads(asked.stdout)["context"]["content_type"] == "application/json"

    triton = _triton_of(serving.process)
    os.kill(triton, signal.SIGKILL)
    assert wait_until(lambda: httpx.get(f"{serving.url}/readyz").status_code == 503, timeout_s=20)
    assert wait_until(lambda: httpx.get(f"{serving.url}/readyz").status_code == 200, timeout_s=60)
    assert _triton_of(serving.process) != triton
    for name in ("one", "two"):
        assert httpx.post(f"{serving.url}/v1/{name}", json={}).status_code == 200
    serving.process.terminate()
    assert serving.process.wait(timeout=20) == 0
    assert regions_of(serving.process.pid) == []


def test_a_process_that_dies_with_requests(serve: Callable[..., Serving], tmp_path: Path) -> None:
    builds = [
        predictor_build(tmp_path / name, "faulty", name=name, idempotent=name == "twice") for name in ("once", "twice")
    ]
    serving = serve(*builds, *FREE_PORTS, apis=2)
    with httpx.Client(base_url=serving.url, timeout=60) as client, ThreadPoolExecutor() as pool:
        pids = {name: client.post(f"/{name}", json={}).json()["pid"] for name in ("once", "twice")}
        lost = pool.submit(client.post, "/once", json={"do": "sleep", "seconds": 55})
        asked_again = pool.submit(client.post, "/twice", json={"do": "sleep", "seconds": 2})
        for name in pids:
            wait_for_metric(client, 1, "cortex_compile_requests_in_flight", api=name)
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        refused = lost.result()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json() == {"error": "the model is not ready; try again"}
        answered = asked_again.result()
        assert answered.status_code == 200
        assert answered.json()["pid"] != pids["twice"]
        assert wait_until(lambda: client.get("/readyz").json()["ready"], timeout_s=60)
        for name in pids:
            wait_for_metric(client, 1, "cortex_compile_repairs_total", api=name, reason="killed")


def test_a_request_that_comes_before_a_dead_process_is_missed(serve: Callable[..., Serving], tmp_path: Path) -> None:
    build = predictor_build(tmp_path / "api", "faulty", name="api", idempotent=True)
    serving = serve(build, *FREE_PORTS)
    with httpx.Client(base_url=serving.url, timeout=60) as client, ThreadPoolExecutor() as pool:
        pid = client.post("/", json={}).json()["pid"]
        os.kill(serving.process.pid, signal.SIGSTOP)  # so it sees the death late, as on a busy machine
        try:
            os.kill(pid, signal.SIGKILL)
            asked = pool.submit(client.post, "/", json={})
            time.sleep(1)
        finally:
            os.kill(serving.process.pid, signal.SIGCONT)
        answered = asked.result()
        assert answered.status_code == 200, answered.text
        assert answered.json()["pid"] != pid


def test_sigterm_while_triton_is_starting(tmp_path: Path) -> None:
    build = told_build(tmp_path / "api", "api")
    process = subprocess.Popen(
        [*COMMAND, "serve", str(build), *FREE_PORTS], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Starting Triton")
    assert wait_until(
        lambda: any(_children(keeper) for keeper in _children_that_run(process.pid, "keep_server")), timeout_s=20
    )
    server = _triton_of(process)
    process.terminate()
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors
    assert processes_of(server) == []
    assert regions_of(process.pid) == []


def test_a_running_triton_by_its_address(serve: Callable[..., Serving], tmp_path: Path) -> None:
    build = told_build(tmp_path / "api", "api", ("sample.txt?echo=", "hello"))
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        grpc_port = str(chosen.getsockname()[1])
    first = serve(build, *FREE_PORTS, "--triton-grpc-port", grpc_port)
    second = serve(build, "--port", "0", "--runtime", f"http://127.0.0.1:{grpc_port}")
    answer = httpx.post(f"{second.url}/?echo=", content=b"x")
    assert answer.text == "x"

    other = _fail(
        "serve", told_build(tmp_path / "other", "other"), "--runtime", f"127.0.0.1:{grpc_port}", "--port", "0"
    )
    assert other.returncode == 1
    assert f"Triton at 127.0.0.1:{grpc_port} has no ready model 'other'" in other.stderr

    second.process.terminate()
    assert second.process.wait(timeout=20) == 0
    assert httpx.post(f"{first.url}/?echo=", content=b"x").text == "x"


def test_no_triton_at_the_address(tmp_path: Path) -> None:
    answer = _fail("serve", told_build(tmp_path / "api", "api"), "--runtime", "127.0.0.1:9", "--port", "0")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: no Triton is ready at 127.0.0.1:9;")


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    build = told_build(tmp_path / "api", "api")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flag in ("--port", "--triton-http-port", "--triton-grpc-port", "--triton-metrics-port"):
            answer = _fail("serve", build, *FREE_PORTS, flag, port)
            assert answer.returncode == 1
            last = answer.stderr.splitlines()[-1]
            assert port in last
            assert f"{flag} PORT" in last


@pytest.mark.parametrize("runtime", ["dokcer", "triton", "https://host:1", "host:0x", "http://h:1/path"])
def test_runtimes_that_are_none(tmp_path: Path, runtime: str) -> None:
    answer = _fail("serve", told_build(tmp_path / "api", "api"), "--runtime", runtime)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: --runtime ")
    assert answer.stderr.count("\n") == 1


def test_builds_that_exclude_each_other_are_both_named(tmp_path: Path) -> None:
    one, two = (told_build(tmp_path / folder, "api") for folder in ("one", "two"))
    answer = _fail("serve", one, two)
    assert answer.returncode == 2
    assert f"{str(one)!r} and {str(two)!r} are both builds of 'api'" in answer.stderr
    three = told_build(tmp_path / "three", "other", endpoint="/api/")
    answer = _fail("serve", one, three)
    assert answer.returncode == 2
    assert f"{str(one)!r} and {str(three)!r} both answer on '/api'" in answer.stderr


def test_a_folder_that_is_no_build(tmp_path: Path) -> None:
    answer = _fail("serve", tmp_path)
    assert answer.returncode == 1
    assert "is not a build" in answer.stderr


def test_a_build_that_was_edited(tmp_path: Path) -> None:
    build = told_build(tmp_path / "api", "api")
    (build / "model_repository" / "api" / "1" / "model.py").write_text("")
    answer = _fail("serve", build)
    assert answer.returncode == 1
    assert "model.py: was changed after compiling" in answer.stderr


def test_predict_a_build(tmp_path: Path) -> None:
    build = told_build(tmp_path / "api", "api")
    sample = tmp_path / "sample.json"
    sample.write_text('{"a": "ä"}')
    answer = subprocess.run([*COMMAND, "predict", str(build), f"{sample}?echo="], capture_output=True, check=True)
    assert answer.stdout.decode() == '{\n  "a": "ä"\n}\n'
    answer = subprocess.run([*COMMAND, "predict", str(build), f"{sample}?status=404"], capture_output=True, check=False)
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["context"]["content_type"] == "application/json"
    assert answer.stderr.decode().splitlines()[-1] == f"error: {build} answered 404 Not Found"


def test_predict_a_url(serve: Callable[..., Serving], tmp_path: Path) -> None:
    serving = serve(told_build(tmp_path / "api", "api"), *FREE_PORTS)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    answer = _fail("predict", serving.url, f"{tmp_path / 'a.png'}?q=%3F", "--json")
    assert answer.returncode == 0
    value = json.loads(answer.stdout)
    assert value["status_code"] == 200
    assert value["body"]["context"]["content_type"] == "image/png"
    assert value["body"]["context"]["query_string"] == "q=%3F"
    assert value["seconds"] > 0
    assert ["content-type", "application/json"] in value["headers"]

    told = f'{tmp_path / "a.png"}?echo=&headers=[["content-type","image/png"]]&status=500'
    answer = _fail("predict", f"{serving.url}/api?first=1", told, "--json")
    assert answer.returncode == 1
    assert answer.stderr == f"error: {serving.url}/api?first=1 answered 500 Internal Server Error\n"


def test_predict_where_nothing_listens(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    answer = _fail("predict", "http://127.0.0.1:9/", tmp_path / "a.json")
    assert answer.returncode == 1
    assert "http://127.0.0.1:9/ cannot be reached" in answer.stderr


def test_predict_without_a_sample(tmp_path: Path) -> None:
    answer = _fail("predict", "http://127.0.0.1:9/", tmp_path / "missing.json?x=1")
    assert answer.returncode == 2
    assert "missing.json' cannot be read (no such file or directory)" in answer.stderr
