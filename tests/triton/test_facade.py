"""The facade between real sockets and a real Triton, whose model answers or fails as the query string tells it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.launchers.embedded import EmbeddedServer

from .conftest import RunningServer
from .facade_process import Facade, facade_command, metric, start_facade
from .processes import wait_until
from .told_predictor import told_build

MAX_BODY_BYTES = 300_000
MAX_CONCURRENCY = 8
REQUEST_TIMEOUT_S = 3.0


RunFacade = Callable[..., Facade]


@pytest.fixture(scope="module")
def triton(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("builds")
    builds = [told_build(folder / name, name) for name in ("told", "other")]
    server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0)
    yield RunningServer(server, server.start(timeout_s=90))
    server.stop()


@pytest.fixture(scope="module")
def run_facade() -> Iterator[RunFacade]:
    """``run_facade(TRITON, NAME, …)`` starts a facade for these APIs of a running Triton."""
    facades: list[Facade] = []

    def start(triton: RunningServer, *names: str) -> Facade:
        facades.append(start_facade(triton.endpoints.grpc, [_route(name) for name in names]))
        return facades[-1]

    yield start
    for facade in facades:
        facade.stop()


def _route(name: str) -> ApiRoute:
    return ApiRoute(
        name,
        f"/{name}",
        MAX_CONCURRENCY,
        # One for the API of each name.
        max_body_bytes=MAX_BODY_BYTES if name == "told" else 10,
        request_timeout_s=REQUEST_TIMEOUT_S if name == "told" else 60,
    )


@pytest.fixture
def run(run_facade: RunFacade, triton: RunningServer) -> Callable[..., Facade]:
    """``run(NAME, …)`` starts one for APIs of the Triton that the tests share."""
    return partial(run_facade, triton)


@pytest.fixture(scope="module")
def facade(run_facade: RunFacade, triton: RunningServer) -> Facade:
    return run_facade(triton, "told")


def _metric(facade: Facade, name: str, **labels: str) -> float:
    return metric(facade.http, name, **labels)


def test_one_api_answers_on_both_paths(facade: Facade) -> None:
    for path in ("/", "/told"):
        answer = facade.http.post(path, params={"echo": ""}, content=b'{"a": 1}')
        assert (answer.status_code, answer.content) == (200, b'{"a": 1}')
        assert answer.headers["content-type"] == "application/json"


def test_several_apis_answer_each_on_its_own_path(run: RunFacade) -> None:
    facade = run("told", "other")
    for name in ("told", "other"):
        assert facade.http.post(f"/{name}?echo=", content=name).text == name
    missing = facade.http.post("/")
    assert missing.status_code == 404
    assert missing.json() == {"error": "no such path; there are POST /told, POST /other"}


def test_get_says_how_to_ask(facade: Facade) -> None:
    answer = facade.http.get("/")
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "make a prediction by sending a post request to this endpoint with a json payload"
    }


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH"])
def test_other_methods(facade: Facade, method: str) -> None:
    answer = facade.http.request(method, "/told")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


def test_unknown_path_names_the_routes(facade: Facade) -> None:
    answer = facade.http.post("/tolt")
    assert answer.status_code == 404
    assert answer.json() == {"error": "no such path; there are POST /, POST /told"}


def test_query_and_headers_reach_the_predictor_as_they_came(facade: Facade) -> None:
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("Content-Type", 'text/plain; charset="utf-8"'), ("TE", "trailers")]
    context = facade.http.post("/?q=%3F%26&q=a+b", headers=headers, content=b"x").json()["context"]
    assert context["query_string"] == "q=%3F%26&q=a+b"
    assert context["content_type"] == 'text/plain; charset="utf-8"'
    assert [value for name, value in context["headers"] if name == "x-twice"] == ["1", "2"]
    names = [name for name, _ in context["headers"]]
    assert "host" in names
    assert not {"te", "connection"} & set(names)


def test_no_content_type_stays_none(facade: Facade) -> None:
    context = facade.http.post("/", content=b"x").json()["context"]
    assert context["content_type"] is None


@pytest.mark.parametrize("size", [0, 1, 70_000, MAX_BODY_BYTES])
def test_bytes_cross_unchanged(facade: Facade, size: int) -> None:
    body = os.urandom(size)
    assert facade.http.post("/?echo=", content=body).content == body


def test_a_chunked_body(facade: Facade) -> None:
    assert facade.http.post("/?echo=", content=iter([b"one,", b"two"])).content == b"one,two"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit(facade: Facade, chunked: bool) -> None:
    body = bytes(MAX_BODY_BYTES + 1)
    answer = facade.http.post("/", content=iter([body[:1000], body[1000:]]) if chunked else body)
    assert answer.status_code == 413
    assert answer.json() == {"error": f"the request body is larger than {MAX_BODY_BYTES} bytes"}
    assert facade.http.post("/?echo=", content=b"next").content == b"next"


def test_limits_are_those_of_the_api(run: RunFacade) -> None:
    facade = run("told", "other")
    body = bytes(11)
    assert facade.http.post("/told?echo=", content=body).content == body
    refused = facade.http.post("/other?echo=", content=iter([body]))
    assert (refused.status_code, refused.json()) == (413, {"error": "the request body is larger than 10 bytes"})
    late = f"sleep={REQUEST_TIMEOUT_S + 1}"
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(facade.http.post, (f"/told?{late}", f"/other?{late}"))
    assert [answer.status_code for answer in answers] == [504, 200]


def test_each_answer_says_where_its_time_went(facade: Facade) -> None:
    timing = {"queue_ms": 1.5, "prepost_ms": 20, "core_ms": 300}
    told = {"timing": json.dumps(timing), "headers": json.dumps([["server-timing", "db;dur=7"]])}
    header = facade.http.post("/", params=told).headers["server-timing"]
    parts = "db;dur=7, queue;dur=1.500, prepost;dur=20.000, core;dur=300.000, total;dur="
    assert header.startswith(parts)
    assert float(header.removeprefix(parts)) > 0
    for path in ("/nope", "/healthz", "/docs"):
        assert facade.http.get(path).headers["server-timing"].startswith("total;dur=")


def test_a_body_that_is_declared_over_the_limit_is_not_asked_for(facade: Facade) -> None:
    with socket.create_connection(("127.0.0.1", facade.port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\nexpect: 100-continue\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_arrive(facade: Facade) -> None:
    with socket.create_connection(("127.0.0.1", facade.port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_status_and_headers_of_the_predictor(facade: Facade) -> None:
    headers = [["x-a", "1"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["Connection", "x-hop"], ["x-hop", "1"]]
    headers += [["transfer-encoding", "chunked"], ["content-length", "1"], ["x-request-id", "theirs"]]
    told = {"status": "418", "headers": json.dumps(headers)}
    answer = facade.http.post("/", params=told, headers={"x-request-id": "mine"})
    assert answer.status_code == 418
    assert answer.headers["x-a"] == "1"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert not {"x-hop", "transfer-encoding", "connection"} & set(answer.headers)
    assert answer.json()["size"] == 0


def test_no_content(facade: Facade) -> None:
    answer = facade.http.post("/?status=204")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers


def test_headers_that_would_split_the_answer(facade: Facade) -> None:
    told = {"headers": json.dumps([["x-a", "1\r\nset-cookie: stolen=1"]])}
    answer = facade.http.post("/", params=told)
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal server error"}


def test_request_id_is_kept_and_shown_to_the_predictor(facade: Facade) -> None:
    answer = facade.http.post("/", headers={"x-request-id": "a b/~1"})
    assert answer.headers["x-request-id"] == "a b/~1"
    assert ["x-request-id", "a b/~1"] in answer.json()["context"]["headers"]


@pytest.mark.parametrize("given", [None, "x" * 129, b"\xe4", ""])
def test_request_id_is_made(facade: Facade, given: Any) -> None:
    answer = facade.http.post("/", headers={} if given is None else {"x-request-id": given})
    made = answer.headers["x-request-id"]
    assert len(made) == 32
    assert [value for name, value in answer.json()["context"]["headers"] if name == "x-request-id"] == [made]


@pytest.mark.parametrize("path", ["/nope", "/healthz", "/docs", "/metrics"])
def test_each_answer_has_a_request_id(facade: Facade, path: str) -> None:
    assert facade.http.get(path, headers={"x-request-id": "7"}).headers["x-request-id"] == "7"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("error=INTERNAL", 500),
        ("error=INVALID_ARG", 500),
        ("error=UNSUPPORTED", 500),
        ("error=UNAVAILABLE", 503),
        ("error=NOT_FOUND", 503),
        ("garbage=", 500),
        ("status=42", 500),
    ],
)
def test_errors_of_triton_tell_the_client_nothing(facade: Facade, query: str, status: int) -> None:
    answer = facade.http.post(f"/?{query}")
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_time_out(facade: Facade) -> None:
    answer = facade.http.post("/?sleep=20")
    assert answer.status_code == 504
    assert answer.json() == {"error": "the model did not answer in time"}


def test_more_requests_than_the_api_allows(facade: Facade) -> None:
    refused_before = _metric(facade, "cortex_compile_requests_total", api="told", status_class="5xx")
    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        running = [pool.submit(facade.http.post, "/?sleep=2") for _ in range(MAX_CONCURRENCY)]
        assert wait_until(lambda: _in_flight(facade) == MAX_CONCURRENCY, timeout_s=10)
        refused = facade.http.post("/")
        answers = [future.result() for future in running]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json() == {
        "error": f"too many requests are in flight: this API's limit is {MAX_CONCURRENCY}; try again"
    }
    assert [answer.status_code for answer in answers] == [200] * MAX_CONCURRENCY
    assert _metric(facade, "cortex_compile_requests_total", api="told", status_class="5xx") == refused_before + 1
    assert facade.http.post("/").status_code == 200


def _in_flight(facade: Facade) -> float:
    return _metric(facade, "cortex_compile_requests_in_flight", api="told")


def test_a_client_that_leaves_cancels_its_call(facade: Facade) -> None:
    cancelled = facade.http.post("/").json()["cancelled"]
    gone = _metric(facade, "cortex_compile_requests_total", api="told", status_class="disconnected")
    with socket.create_connection(("127.0.0.1", facade.port), timeout=10) as client:
        client.sendall(b"POST /?sleep=2.5 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert wait_until(lambda: _in_flight(facade) == 1, timeout_s=10)
    assert wait_until(lambda: facade.http.post("/").json()["cancelled"] == cancelled + 1, timeout_s=10)
    assert wait_until(lambda: _in_flight(facade) == 0, timeout_s=10)
    assert _metric(facade, "cortex_compile_requests_total", api="told", status_class="disconnected") == gone + 1


def test_metrics_count_by_api_and_status_class(run: RunFacade) -> None:
    facade = run("told", "other")
    facade.http.post("/told?status=404")
    facade.http.post("/other")
    facade.http.post("/other")
    assert _metric(facade, "cortex_compile_requests_total", api="told", status_class="4xx") == 1
    assert _metric(facade, "cortex_compile_requests_total", api="other", status_class="2xx") == 2
    labels = {"api": "other", "status_class": "2xx", "le": "+Inf"}
    assert _metric(facade, "cortex_compile_request_duration_seconds_bucket", **labels) == 2
    assert _in_flight(facade) == 0


def test_health_and_readiness(facade: Facade) -> None:
    assert facade.http.get("/healthz").json() == {"status": "ok"}
    ready = facade.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {"ready": True, "triton": True, "models": {"told": True}, "drift": None},
    )


def test_the_documentation_page_needs_no_other_host(facade: Facade) -> None:
    page = facade.http.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for path in ("/static-offline-docs/swagger-ui-bundle.js", "/static-offline-docs/swagger-ui.css"):
        assert path in page
        assert facade.http.get(path).status_code == 200


def test_the_openapi_document(facade: Facade) -> None:
    document = facade.http.get("/openapi.json").json()
    assert set(document["paths"]) == {"/", "/told", "/healthz", "/readyz", "/metrics"}
    assert "application/json" in document["paths"]["/told"]["post"]["requestBody"]["content"]


def test_sigterm_answers_what_is_under_way(run: RunFacade) -> None:
    facade, answer = _asked_as_it_ends(run("told"), sleep_s=1.5)
    assert answer.status_code == 200
    assert facade.process.wait(timeout=20) == 0


def test_what_is_not_answered_in_time_to_end_is_told_to_come_back(run: RunFacade) -> None:
    facade, answer = _asked_as_it_ends(run("other"), sleep_s=8)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"error": "the server is ending; try again"}
    assert facade.process.wait(timeout=20) == 0


def _asked_as_it_ends(facade: Facade, sleep_s: float) -> tuple[Facade, httpx.Response]:
    """The answer to a request that is under way when the facade gets SIGTERM."""
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(facade.http.post(f"/?sleep={sleep_s}")))
    idle = httpx.Client(base_url=facade.http.base_url)
    client.start()
    assert wait_until(lambda: _metric_of_idle(idle) == 1, timeout_s=10)
    idle.close()
    facade.process.send_signal(signal.SIGTERM)
    client.join(timeout=20)
    (answer,) = answers
    return facade, answer


def _metric_of_idle(client: httpx.Client) -> float:
    text = client.get("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith("cortex_compile_requests_in_flight{"))
    return float(line.split()[-1])


def test_a_process_of_the_predictor_that_dies(
    start_server: Callable[..., RunningServer], run_facade: RunFacade, tmp_path: Path
) -> None:
    triton = start_server(told_build(tmp_path / "told", "told"))
    facade = run_facade(triton, "told")
    for query in ("die=", ""):
        answer = facade.http.post(f"/?{query}")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json() == {"error": "the model is not ready; try again"}


def test_triton_that_ends(start_server: Callable[..., RunningServer], run_facade: RunFacade, tmp_path: Path) -> None:
    triton = start_server(told_build(tmp_path / "told", "told"))
    facade = run_facade(triton, "told")
    assert facade.http.get("/readyz").status_code == 200
    triton.server.stop()
    answer = facade.http.post("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    ready = facade.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        503,
        {"ready": False, "triton": False, "models": {"told": False}, "drift": None},
    )
    assert facade.http.get("/healthz").status_code == 200


def test_a_model_that_is_not_loaded_is_named(triton: RunningServer) -> None:
    command = facade_command(triton.endpoints.grpc, [ApiRoute("absent", "/absent", max_concurrency=1)])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "has no ready model 'absent'" in done.stderr
