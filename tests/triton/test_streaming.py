"""What a predictor streams, from its generator in Triton to the bytes on the wire. Files say when what may happen."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cortex_compile.compiler.read_project import read_projects
from cortex_compile.compiler.write_build import write_build
from cortex_compile.facade.api_route import route_of
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.python_backend.manifest import Manifest

from .conftest import RunningServer
from .facade_process import Facade, metric, start_facade
from .processes import wait_until

PREDICTOR = Path(__file__).parents[1] / "predictors" / "streams" / "predictor.py"
STREAMS = ["generator", "async_generator", "response", "async_response"]


def streaming_build(folder: Path, name: str, request_timeout_s: float = 60.0, **settings: Any) -> Manifest:
    """Written as the compiler writes it; ``settings`` are fields of the project."""
    (project,) = read_projects(
        PREDICTOR,
        config=None,
        samples=(),
        name=name,
        settings_overrides={"compile": False, "request_timeout_s": request_timeout_s},
    )
    build = folder / name
    build.mkdir()
    return write_build(dataclasses.replace(project, **settings), [], lambda *_: None, build, {}, streaming=True)


@dataclass(frozen=True)
class Served:
    triton: RunningServer
    facade: Facade
    log: list[str]

    def post(self, do: str, api: str = "streams", **arguments: Any) -> httpx.Response:
        return self.facade.http.post(f"/{api}", json=body(do, **arguments))

    def stream(self, do: str, api: str = "streams", **arguments: Any) -> Any:
        return self.facade.http.stream("POST", f"/{api}", json=body(do, **arguments))

    def metric(self, name: str, **labels: str) -> float:
        return metric(self.facade.http, f"cortex_compile_{name}", **labels)

    def in_flight(self) -> float:
        return self.metric("requests_in_flight", api="streams")


def body(do: str, **arguments: Any) -> dict[str, Any]:
    return {"do": do, **{name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}}


@pytest.fixture(scope="module")
def served(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, log = tmp_path_factory.mktemp("builds"), list[str]()
    manifests = [
        streaming_build(folder, "streams"),
        streaming_build(folder, "many", threads_per_process=4),
        streaming_build(folder, "hasty", request_timeout_s=1.5),
    ]
    builds = [folder / manifest.name for manifest in manifests]
    server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0, log=log.append)
    try:
        endpoints = server.start(timeout_s=90)
        facade = start_facade(endpoints.grpc, [route_of(manifest) for manifest in manifests], folder / "facade.log")
        try:
            yield Served(RunningServer(server, endpoints), facade, log)
        finally:
            facade.stop()
    finally:
        server.stop()


@pytest.mark.parametrize("kind", STREAMS)
def test_the_first_chunk_arrives_before_the_last_is_made(served: Served, tmp_path: Path, kind: str) -> None:
    go, ended = tmp_path / "go", tmp_path / "ended"
    try:
        with served.stream(kind, go=go, ended=ended) as answer:
            chunks = answer.iter_bytes()
            assert next(chunks) == b"one "
            assert not ended.exists()
            go.touch()
            assert b"".join(chunks) == b"two"
    finally:
        go.touch()
    assert ended.read_text() == "predict"


def test_a_streaming_response_keeps_its_status_headers_and_media_type(served: Served, tmp_path: Path) -> None:
    answer = served.post("response", task=tmp_path / "task")
    assert (answer.status_code, answer.content) == (207, b"one two")
    assert (answer.headers["content-type"], answer.headers["x-kind"]) == ("video/mp4", "stream")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.headers
    assert wait_until((tmp_path / "task").exists, timeout_s=10)


@pytest.mark.parametrize(
    ("first", "chunk", "content_type"),
    [
        ("bytes", b"\xff", "application/octet-stream"),
        ("text", "grün".encode(), "text/plain; charset=utf-8"),
        ("json", b"[1, null]\n", "application/x-ndjson"),
        ("nothing", b"", "text/plain; charset=utf-8"),
    ],
)
def test_chunks_of_each_kind(served: Served, first: str, chunk: bytes, content_type: str) -> None:
    answer = served.post("kinds", first=first)
    assert answer.content == chunk + b'|text2.5\n{"a": 1.0}\n'
    assert answer.headers["content-type"] == content_type


def test_a_stream_without_chunks(served: Served) -> None:
    answer = served.post("empty")
    assert (answer.status_code, answer.content) == (200, b"")


def test_what_is_no_stream_is_answered_whole(served: Served) -> None:
    answer = served.post("whole")
    assert answer.json() == {"not": "streamed"}
    assert answer.headers["content-length"] == str(len(answer.content))
    assert served.facade.http.post("/streams", content=b"{", headers={"content-type": "application/json"}).is_error


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [("fail_at_once", 500, "internal server error"), ("refuse", 418, "short and stout")],
)
def test_an_exception_before_the_first_chunk(served: Served, kind: str, status: int, text: str) -> None:
    answer = served.post(kind)
    assert (answer.status_code, answer.text) == (status, text)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("fail_later", "OSError: the disk is gone"),
        ("not_json_later", "predict returned what cannot be answered: TypeError: builtins.set"),
        ("fail_at_the_end", "OSError: cannot close"),
    ],
)
def test_a_stream_that_fails_is_cut_and_its_error_logged(served: Served, kind: str, line: str) -> None:
    failed = served.metric("requests_total", api="streams", status_class="5xx")
    received = []
    with served.stream(kind) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            received.extend(answer.iter_bytes())
    assert received in ([], [b"one"])
    request_id = answer.headers["x-request-id"]
    assert wait_until(lambda: any(request_id in entry and line in entry for entry in served.log), timeout_s=10)
    assert served.metric("requests_total", api="streams", status_class="5xx") == failed + 1
    assert served.post("whole").status_code == 200


@pytest.mark.parametrize("kind", [*STREAMS, "kept"])
def test_a_client_that_leaves_stops_the_generator(served: Served, tmp_path: Path, kind: str) -> None:
    ended = tmp_path / "ended"
    gone = served.metric("requests_total", api="streams", status_class="disconnected")
    with served.stream(kind, ended=ended, forever=True) as answer:
        chunks = answer.iter_bytes()
        assert next(chunks) == b"one "
        assert served.in_flight() == 1
    assert wait_until(lambda: ended.exists() and bool(ended.read_text()), timeout_s=10)
    assert ended.read_text() == "predict"
    assert wait_until(lambda: served.in_flight() == 0, timeout_s=10)
    assert served.metric("requests_total", api="streams", status_class="disconnected") == gone + 1


def test_a_client_that_left_while_it_waited_is_not_answered(served: Served, tmp_path: Path) -> None:
    go, here = tmp_path / "go", tmp_path / "here"
    try:
        with served.stream("generator", go=go) as first:
            chunks = first.iter_bytes()
            next(chunks)
            with pytest.raises(httpx.ReadTimeout):  # the only thread is taken
                served.facade.http.post("/streams", json=body("generator", here=here), timeout=1.5)
            assert wait_until(lambda: served.in_flight() == 1, timeout_s=10)
            go.touch()
            assert b"".join(chunks) == b"two"
        assert served.post("whole").status_code == 200
    finally:
        go.touch()
    assert not here.exists()


def test_many_streams_at_once_keep_to_themselves(served: Served) -> None:
    def read(number: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in served.post("count", "many", name=number, to=50).text.splitlines()]

    with ThreadPoolExecutor(16) as pool:
        for name, lines in enumerate(pool.map(read, range(32))):
            assert lines == [{"name": name, "number": number} for number in range(50)]


def test_streams_of_several_threads_are_made_at_the_same_time(served: Served, tmp_path: Path) -> None:
    go = tmp_path / "go"
    try:
        with served.stream("generator", "many", go=go) as one, served.stream("generator", "many", go=go) as other:
            chunks = one.iter_bytes(), other.iter_bytes()
            assert [next(each) for each in chunks] == [b"one ", b"one "]
            go.touch()
            assert [b"".join(each) for each in chunks] == [b"two", b"two"]
    finally:
        go.touch()


def test_a_first_chunk_that_does_not_come_is_504_and_its_stream_not_begun_later(served: Served, tmp_path: Path) -> None:
    here, go, waiting = tmp_path / "here", tmp_path / "go", tmp_path / "waiting"
    try:
        with ThreadPoolExecutor(2) as pool:
            slow = pool.submit(served.post, "never_begin", "hasty", here=here, go=go)
            assert wait_until(here.exists, timeout_s=10)
            waited = pool.submit(served.post, "generator", "hasty", here=waiting)
            answers = [slow.result(timeout=30), waited.result(timeout=30)]
    finally:
        go.touch()
    assert [answer.status_code for answer in answers] == [504, 504]
    assert answers[0].json() == {"error": "the model did not answer in time"}
    assert served.post("whole", "hasty").status_code == 200
    assert not waiting.exists()


def test_a_next_chunk_that_does_not_come_cuts_the_stream(served: Served, tmp_path: Path) -> None:
    go, ended = tmp_path / "go", tmp_path / "ended"
    try:
        with served.stream("generator", "hasty", go=go, ended=ended) as answer:
            chunks = answer.iter_bytes()
            assert next(chunks) == b"one "
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                next(chunks)
    finally:
        go.touch()
    assert wait_until(ended.exists, timeout_s=10)


def test_a_stream_is_in_flight_to_its_end(served: Served, tmp_path: Path) -> None:
    go = tmp_path / "go"
    try:
        with served.stream("generator", go=go) as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            assert served.in_flight() == 1
            before = served.metric("requests_total", api="streams", status_class="2xx")
            go.touch()
            list(chunks)
    finally:
        go.touch()
    assert wait_until(lambda: served.in_flight() == 0, timeout_s=10)
    assert served.metric("requests_total", api="streams", status_class="2xx") == before + 1


def test_the_timing_of_a_stream_is_that_of_its_first_chunk(served: Served) -> None:
    header = served.post("generator").headers["server-timing"]
    assert [part.split(";")[0] for part in header.split(", ")] == ["queue", "prepost", "core", "total"]


def test_the_predict_command_prints_chunks_as_they_come(served: Served, tmp_path: Path) -> None:
    go, sample = tmp_path / "go", tmp_path / "sample.json"
    sample.write_text(json.dumps(body("generator", go=go)))
    url = f"http://127.0.0.1:{served.facade.port}/streams"
    command = [sys.executable, "-m", "cortex_compile", "predict", url, str(sample)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(4) == b"one "
            go.touch()
            assert process.communicate(timeout=30) == (b"two", b"")
            assert process.returncode == 0
        finally:
            go.touch()
            process.kill()
    sample.write_text(json.dumps(body("fail_later")))
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert "broke off" in failed.stderr
    sample.write_text(json.dumps(body("count", name="n", to=2)))
    whole = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60)
    assert json.loads(whole.stdout)["body"].count("\n") == 2


def test_the_predict_command_asks_a_build_that_streams(installed_server: None, tmp_path: Path) -> None:
    streaming_build(tmp_path, "asked")
    (tmp_path / "sample.json").write_text('{"do": "generator"}')
    command = [
        sys.executable,
        "-m",
        "cortex_compile",
        "predict",
        str(tmp_path / "asked"),
        str(tmp_path / "sample.json"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert (ended.returncode, ended.stdout) == (0, "one two"), ended.stderr


def test_the_documents_program_for_tritons_own_client(served: Served, tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "streaming.md").read_text()
    program = re.findall(r"```python\n(.*?)```", document, re.DOTALL)[-1]
    for words, here in (
        ('{"text": "Once upon a time"}', json.dumps(body("generator"))),
        ("127.0.0.1:8001", served.triton.endpoints.grpc),
        ('"NAME"', '"streams"'),
    ):
        assert words in program
        program = program.replace(words, here)
    # Where it hangs, stderr tells in which line.
    program = f"import faulthandler; faulthandler.dump_traceback_later(40, exit=True)\n{program}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "200\none two", ended.stderr
    assert ended.returncode == 0, ended.stderr


def test_streams_under_way_at_sigterm_are_sent_to_their_end(
    served: Served, start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    manifest = streaming_build(tmp_path, "ending")
    triton = start_server(tmp_path / "ending")
    facade = start_facade(triton.endpoints.grpc, [route_of(manifest)], tmp_path / "facade.log")
    go = tmp_path / "go"
    try:
        with facade.http.stream("POST", "/", json=body("generator", go=go)) as answer:
            chunks = answer.iter_bytes()
            assert next(chunks) == b"one "
            facade.process.send_signal(signal.SIGTERM)
            threading.Timer(0.5, go.touch).start()
            assert b"".join(chunks) == b"two"
        assert facade.process.wait(timeout=20) == 0
    finally:
        go.touch()
        facade.stop()


def test_a_stream_under_way_when_triton_stops_is_sent_to_its_end(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    manifest = streaming_build(tmp_path, "ending")
    triton = start_server(tmp_path / "ending")
    facade = start_facade(triton.endpoints.grpc, [route_of(manifest)], tmp_path / "facade.log")
    go = tmp_path / "go"
    try:
        with facade.http.stream("POST", "/", json=body("generator", go=go)) as answer:
            chunks = answer.iter_bytes()
            assert next(chunks) == b"one "
            stopping = threading.Thread(target=triton.server.stop)
            stopping.start()
            threading.Timer(0.5, go.touch).start()
            assert b"".join(chunks) == b"two"
            stopping.join(timeout=30)
    finally:
        go.touch()
        facade.stop()
