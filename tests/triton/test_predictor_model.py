"""The predictor as a Triton model: what any client of Triton can send it and gets back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.launchers.protocol import Endpoints
from cortex_compile.python_backend.manifest import Dispatch

from .predictor_build import predictor_build

OK = {"status_code": 200, "headers": [["content-type", "application/json"]]}
FAILED = {"status_code": 500, "headers": [["content-type", "text/plain; charset=utf-8"]]}


@dataclass(frozen=True)
class Served:
    endpoints: Endpoints
    log: list[str]


@pytest.fixture(scope="module", params=[False, True], ids=["own thread", "in execute"])
def served(
    request: pytest.FixtureRequest, installed_server: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    log: list[str] = []
    dispatch = Dispatch("in turn", 1, None, in_execute=request.param)
    config = {"greeting": "hello"}
    build = predictor_build(tmp_path_factory.mktemp("build"), "served", config=config, dispatch=dispatch)
    names = predictor_build(tmp_path_factory.mktemp("names"), "runtime_names")
    server = EmbeddedServer([build, names], http_port=0, grpc_port=0, metrics_port=0, log=log.append)
    try:
        yield Served(server.start(timeout_s=90), log)
    finally:
        server.stop()


def infer(client_module: ModuleType, address: str, model: str = "served", **vectors: Any) -> dict[str, Any]:
    """Send byte vectors (and ``_sizes``) as named; the outputs come back as bytes (and a list)."""
    inputs = []
    for name, value in vectors.items():
        array = np.array(value, np.int64) if name == "_sizes" else np.frombuffer(value, np.uint8)
        tensor = client_module.InferInput(name, list(array.shape), "INT64" if name == "_sizes" else "UINT8")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    client = client_module.InferenceServerClient(address)
    try:
        result = client.infer(model, inputs)
        return {
            "response": result.as_numpy("response").tobytes(),
            "status": result.as_numpy("status").tobytes(),
            "_sizes": result.as_numpy("_sizes").tolist(),
        }
    finally:
        client.close()


def infer_many(endpoints: Endpoints, payloads: list[bytes], contexts: list[bytes]) -> list[tuple[int, bytes]]:
    """Several predictions in one call; status and body of each."""
    sizes = [[len(item) for item in payloads], [len(item) for item in contexts]]
    vectors = {"payload": b"".join(payloads), "context": b"".join(contexts), "_sizes": sizes}
    found = infer(tritonclient.grpc, endpoints.grpc, **vectors)
    bodies, statuses = found["response"], found["status"]
    answers = []
    for body_length, status_length in zip(*found["_sizes"], strict=True):
        answers.append((json.loads(statuses[:status_length])["status_code"], bodies[:body_length]))
        bodies, statuses = bodies[body_length:], statuses[status_length:]
    assert (bodies, statuses) == (b"", b"")
    return answers


def without_timing(status: bytes) -> dict[str, Any]:
    """What is the same each time."""
    found: dict[str, Any] = json.loads(status)
    found.pop("timing", None)
    return found


def test_the_status_says_where_the_time_went(served: Served) -> None:
    timing = json.loads(infer(tritonclient.grpc, served.endpoints.grpc, payload=b"1")["status"])["timing"]
    assert set(timing) == {"queue_ms", "prepost_ms", "core_ms"}
    assert timing["queue_ms"] > 0
    assert timing["prepost_ms"] > 0
    assert timing["core_ms"] == 0


def test_a_prediction_whose_time_is_over_is_not_begun(served: Served, tmp_path: Path) -> None:
    here, go = tmp_path / "here", tmp_path / "go"
    go.touch()
    contexts = [b'{"timeout_s": 0}', b'{"timeout_s": 60}']
    answers = infer_many(served.endpoints, [meet(mine=here, other=go), b"1"], contexts)
    assert [status for status, _ in answers] == [504, 200]
    assert not here.exists()


def test_a_prediction_that_waited_behind_another_is_answered(served: Served, tmp_path: Path) -> None:
    """After so long a wait Triton is asked whether the client is still there."""
    here, go = tmp_path / "here", tmp_path / "go"
    threading.Timer(0.1, go.touch).start()
    answers = infer_many(served.endpoints, [meet(mine=here, other=go), b"1"], [b"", b""])
    assert [status for status, _ in answers] == [200, 200]


def test_payload_alone_is_json_over_http_and_grpc(served: Served) -> None:
    expected = {"greeting": "hello", "payload": [1], "query": {}, "word": None}
    for module, address in ((tritonclient.http, served.endpoints.http), (tritonclient.grpc, served.endpoints.grpc)):
        found = infer(module, address, payload=b"[1]")
        assert json.loads(found["response"]) == expected
        assert without_timing(found["status"]) == OK
        assert found["_sizes"] == [[len(found["response"])], [len(found["status"])]]


def test_context_says_how_the_payload_is_read(served: Served) -> None:
    context = {"content_type": "text/plain", "query_string": "m=1", "headers": [["X-Word", "w"]]}
    found = infer(tritonclient.http, served.endpoints.http, payload=b"[1]", context=json.dumps(context).encode())
    assert json.loads(found["response"]) == {"greeting": "hello", "payload": "[1]", "query": {"m": "1"}, "word": "w"}


def test_each_of_many_predictions_has_its_own_answer(served: Served) -> None:
    text = b'{"content_type": "text/plain"}'
    payloads = [b'{"do": "nothing"}', b"1", b'{"do": "fail"}', b"{", b"x", b"2"]
    answers = infer_many(served.endpoints, payloads, [b"", b"", b"", b"", text, b"{"])
    assert [status for status, _ in answers] == [200, 200, 500, 400, 200, 400]
    assert answers[0][1] == b""
    assert json.loads(answers[1][1])["payload"] == 1
    assert answers[2][1] == b"internal server error"
    assert json.loads(answers[4][1])["payload"] == "x"


def test_a_predictor_that_forks_answers_once(served: Served) -> None:
    for number in range(5):
        assert infer_many(served.endpoints, [b'{"do": "fork"}'], [b""]) == [(200, b"forked")]
        (answer,) = infer_many(served.endpoints, [str(number).encode()], [b""])
        assert json.loads(answer[1])["payload"] == number


def test_64_predictions_and_no_more(served: Served) -> None:
    answers = infer_many(served.endpoints, [str(index).encode() for index in range(64)], [b""] * 64)
    assert [json.loads(body)["payload"] for _, body in answers] == list(range(64))
    assert infer_many(served.endpoints, [b"1"] * 65, [b""] * 65)[0][0] == 400


@pytest.mark.parametrize(
    "sizes", [[[2], [0]], [[4], [0]], [[3], [1]], [[4, -1], [0, 0]], [[], []], [[2**62, 2**62], [0, 0]]]
)
def test_sizes_that_do_not_add_up_are_400(served: Served, sizes: list[list[int]]) -> None:
    found = infer(tritonclient.grpc, served.endpoints.grpc, payload=b"123", _sizes=sizes)
    assert json.loads(found["status"])["status_code"] == 400
    assert b"_sizes" in found["response"]
    assert found["_sizes"] == [[len(found["response"])], [len(found["status"])]]


@pytest.mark.parametrize("kind", ["fail", "be_cancelled"])
def test_what_fails_is_one_500_and_the_log_has_the_line(served: Served, kind: str) -> None:
    context = {"headers": [["x-request-id", f"id-of-{kind}"]]}
    payload = json.dumps({"do": kind}).encode()
    found = infer(tritonclient.http, served.endpoints.http, payload=payload, context=json.dumps(context).encode())
    assert (found["response"], without_timing(found["status"])) == (b"internal server error", FAILED)
    assert infer(tritonclient.http, served.endpoints.http, payload=b"1")["response"]
    wait_until(lambda: any(f"id-of-{kind}" in line and "predictor.py" in line for line in served.log))


def test_not_even_what_nobody_catches_leaves_a_client_waiting(served: Served) -> None:
    found = infer(tritonclient.http, served.endpoints.http, payload=b'{"do": "interrupt"}')
    assert (found["response"], without_timing(found["status"])) == (b"internal server error", FAILED)
    wait_until(lambda: any("KeyboardInterrupt" in line for line in served.log))


def test_prints_are_in_the_log(served: Served) -> None:
    wait_until(lambda: any(line.startswith("imported by") for line in served.log))


def test_predict_runs_in_the_thread_of_init(served: Served) -> None:
    for _ in range(3):
        assert infer(tritonclient.http, served.endpoints.http, payload=b'{"do": "query"}')["response"] == b"[42]"


def test_large_answer_is_whole(served: Served) -> None:
    found = infer(tritonclient.grpc, served.endpoints.grpc, payload=b'{"do": "large", "size": 3000000}')
    assert found["response"] == bytes(3_000_000)


def test_users_modules_and_the_runtimes_do_not_meet(served: Served) -> None:
    found = infer(tritonclient.http, served.endpoints.http, "runtime-names", payload=b"")
    assert json.loads(found["response"]) == ["the user", True, True, True]


def test_threads_answer_at_the_same_time(start_server: Callable[..., Any], tmp_path: Path) -> None:
    build = predictor_build(tmp_path / "b", "served", config={"greeting": ""}, threads_per_process=2)
    endpoints = start_server(build).endpoints
    one, two = tmp_path / "one", tmp_path / "two"
    # Each waits for the other, first as two calls, then as two predictions of one call.
    payloads = [meet(mine=one, other=two), meet(mine=two, other=one)]
    with ThreadPoolExecutor(2) as pool:
        try:
            calls = [pool.submit(infer, tritonclient.grpc, endpoints.grpc, payload=payload) for payload in payloads]
            assert [call.result(timeout=30)["response"] for call in calls] == [b"met", b"met"]
            one.unlink()
            two.unlink()
            call = pool.submit(infer_many, endpoints, payloads, [b"", b""])
            assert call.result(timeout=30) == [(200, b"met")] * 2
        finally:
            one.touch()
            two.touch()


def test_more_than_may_be_in_flight_is_503_at_once(start_server: Callable[..., Any], tmp_path: Path) -> None:
    build = predictor_build(tmp_path / "b", "served", config={"greeting": ""}, max_replica_concurrency=1)
    endpoints = start_server(build).endpoints
    here, go = tmp_path / "here", tmp_path / "go"
    with ThreadPoolExecutor(2) as pool:
        try:
            first = pool.submit(infer_many, endpoints, [meet(mine=here, other=go), b"1", b"2"], [b"", b"", b""])
            wait_until(here.exists)
            refused = pool.submit(infer, tritonclient.grpc, endpoints.grpc, payload=b"3").result(timeout=30)
        finally:
            go.touch()
        bodies = [b"met", b"Service Unavailable", b"Service Unavailable"]
        assert first.result(timeout=30) == list(zip([200, 503, 503], bodies, strict=True))
    status = json.loads(refused["status"])
    assert (status["status_code"], dict(status["headers"])["retry-after"]) == (503, "1")
    for _ in range(20):
        assert without_timing(infer(tritonclient.grpc, endpoints.grpc, payload=b"3")["status"]) == OK


def test_predictor_that_cannot_start_names_its_line(start_server: Callable[..., Any], tmp_path: Path) -> None:
    build = predictor_build(tmp_path / "b", "served")
    lines = (build / "model_repository" / "served" / "1" / "project" / "predictor.py").read_text().splitlines()
    raising = next(number for number, line in enumerate(lines, 1) if 'config["greeting"]' in line)
    with pytest.raises(LaunchError, match=rf"predictor\.py:{raising}: KeyError: 'greeting'"):
        start_server(build)


def meet(mine: Path, other: Path) -> bytes:
    return json.dumps({"do": "meet", "mine": str(mine), "other": str(other)}).encode()


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
