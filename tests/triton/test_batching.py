"""Server-side batching on a real server: who is answered with whom, and that everybody is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.python_backend.manifest import BatchingSpec

from .ask import ask
from .predictor_build import predictor_build
from .processes import wait_until

SIZE = 4
INTERVAL_S = 2.0
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Served:
    address: str
    log: list[str]

    def ask_all(self, *payloads: Any) -> list[tuple[int, bytes]]:
        """All at once, each in a call of its own."""
        with ThreadPoolExecutor(len(payloads)) as pool:
            return list(pool.map(self.ask, payloads))

    def ask(self, payload: Any) -> tuple[int, bytes]:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return ask(self.address, "batched", body, {"headers": [["x-word", "w"]], "query_string": "q=v"})


@pytest.fixture(scope="module")
def served(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log: list[str] = []
    build = predictor_build(
        tmp_path_factory.mktemp("build"),
        "batched",
        server_side_batching=BatchingSpec(SIZE, INTERVAL_S),
        threads_per_process=SIZE,
    )
    server = EmbeddedServer([build], http_port=0, grpc_port=0, metrics_port=0, log=log.append)
    try:
        yield Served(server.start(timeout_s=90).grpc, log)
    finally:
        server.stop()


def batches_of(answers: list[tuple[int, bytes]]) -> list[list[Any]]:
    assert [status for status, _ in answers] == [200] * len(answers)
    return [json.loads(body)["batch"] for _, body in answers]


def test_a_full_batch_is_answered_together(served: Served) -> None:
    answers = served.ask_all(*range(SIZE))
    batches = batches_of(answers)
    assert [json.loads(body)["item"] for _, body in answers] == list(range(SIZE)), "each its own"
    assert sorted(batches[0]) == list(range(SIZE))
    assert all(batch == batches[0] for batch in batches)
    first = json.loads(answers[0][1])
    assert (first["query"], first["header"], first["batch_id"]) == ("v", "w", None)


def test_a_lone_request_is_a_batch_of_one(served: Served) -> None:
    assert batches_of([served.ask("alone")]) == [["alone"]]


def test_the_predictions_of_one_triton_call_are_a_batch_too(served: Served) -> None:
    payloads = [json.dumps(item).encode() for item in range(SIZE)]
    sizes = np.array([[len(payload) for payload in payloads], [0] * SIZE], np.int64)
    inputs = []
    for name, array in (("payload", np.frombuffer(b"".join(payloads), np.uint8)), ("_sizes", sizes)):
        tensor = tritonclient.grpc.InferInput(name, list(array.shape), "INT64" if name == "_sizes" else "UINT8")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    with tritonclient.grpc.InferenceServerClient(served.address) as client:
        result = client.infer("batched", inputs)
    bodies, rest = [], result.as_numpy("response").tobytes()
    for length in result.as_numpy("_sizes")[0]:
        bodies.append(json.loads(rest[:length]))
        rest = rest[length:]
    assert [(body["item"], body["batch"]) for body in bodies] == [(item, list(range(SIZE))) for item in range(SIZE)]


def test_a_payload_that_cannot_be_read_is_in_no_batch(served: Served) -> None:
    answers = served.ask_all(b"{", *range(SIZE))
    assert answers[0][0] == 400
    assert json.loads(answers[0][1])["error"].startswith("Expecting property name")
    assert all(sorted(batch) == list(range(SIZE)) for batch in batches_of(answers[1:]))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("short", "predict: returned a list of 3 for a batch of 4 requests"),
        ("text", "please return a list when using server side batching, got <class 'str'>"),
        ("fail", "KeyError: 'a secret'"),
    ],
)
def test_a_batch_that_goes_wrong_is_500_for_each_and_one_line_in_the_log(served: Served, word: str, told: str) -> None:
    before = len(served.log)
    answers = served.ask_all(word, 1, 2, 3)
    assert answers == [(500, b"internal server error")] * 4
    assert wait_until(lambda: any(told in line for line in served.log[before:]), PATIENCE_S)
    lines = [line for line in served.log[before:] if "batch of 4, requests" in line]
    assert len(lines) == 1
    assert "predictor.py:" in lines[0]


def test_everybody_is_answered_once_and_with_his_own(served: Served) -> None:
    count = 40 * SIZE
    with ThreadPoolExecutor(2 * SIZE) as pool:
        answers = list(pool.map(served.ask, range(count)))
    assert [json.loads(body)["item"] for _, body in answers] == list(range(count))


def test_post_predict_runs_for_each_request(served: Served) -> None:
    served.ask_all("one", "two")
    for word in ("one", "two"):
        assert wait_until(partial(served.log.__contains__, f"after {word}"), PATIENCE_S)
