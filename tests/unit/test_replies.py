"""What goes back to Triton for a call: the outputs that it asked for, and in any case an answer."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cortex_compile.python_backend import replies
from cortex_compile.python_backend.answer import Answer
from cortex_compile.python_backend.model import TritonPythonModel
from cortex_compile.python_backend.timing import Timing
from cortex_compile.python_backend.triton_call import finish_each, join_answers, status_of

JSON = (("content-type", "application/json"),)
ANSWERS = [Answer(b"one", 200, JSON), Answer(b"", 404, ()), Answer(b"three", 200, JSON)]


class Response:
    def __init__(self, tensors: list[tuple[str, bytes]], error: Exception | None = None) -> None:
        self.tensors, self.error = dict(tensors), error


class Sender:
    def __init__(self) -> None:
        self.sent: list[Response] = []

    def send(self, response: Response, flags: int) -> None:
        assert flags == 1
        self.sent.append(response)

    def is_cancelled(self) -> bool:
        return False


class BrokenRequest:
    """One whose inputs cannot be read. It wants the status alone."""

    def inputs(self) -> list[Any]:
        raise RuntimeError("no memory")

    def requested_output_names(self) -> list[str]:
        return ["status"]


@pytest.fixture(autouse=True)
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """What of Triton's module a reply needs; a tensor is its name and its bytes."""
    module: Any = ModuleType("triton_python_backend_utils")
    module.InferenceResponse, module.TRITONSERVER_RESPONSE_COMPLETE_FINAL = Response, 1
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(replies, "tensor_of", lambda name, array: (name, array.tobytes()))


@pytest.mark.parametrize("wanted", [["response", "status", "_sizes"], {"status", "response"}, ["status"], []])
def test_only_the_outputs_that_are_wanted_are_made(wanted: Any) -> None:
    sender = Sender()
    replies.send_answers(sender, ANSWERS, wanted)
    (response,) = sender.sent
    joined = join_answers(ANSWERS)
    vectors = {"response": joined.response, "status": joined.status, "_sizes": joined.sizes}
    assert response.tensors == {name: vector.tobytes() for name, vector in vectors.items() if name in wanted}


def test_a_call_that_cannot_be_read_is_answered_with_what_it_wants() -> None:
    model, sender = TritonPythonModel(), Sender()
    model._streaming = False
    model._start_call(BrokenRequest(), sender)
    ((name, status),) = sender.sent[0].tensors.items()
    assert (name, json.loads(status)["status_code"]) == ("status", 500)


def test_answers_stand_one_after_the_other() -> None:
    joined = join_answers(ANSWERS)
    assert joined.response.tobytes() == b"onethree"
    assert joined.sizes.dtype == np.int64
    assert joined.sizes[0].tolist() == [3, 0, 5]
    assert joined.sizes[1].tolist() == [len(status_of(answer)) for answer in ANSWERS]
    assert joined.status.tobytes() == b"".join(map(status_of, ANSWERS))


@pytest.mark.parametrize("timing", [None, Timing(0.0, 12.345, 1e-05), Timing(1e16, 0.001, 3.0)])
@pytest.mark.parametrize("headers", [JSON, (), (("x-word", 'gr\u00fcn "quoted"'), ("retry-after", 30), *JSON)])
@pytest.mark.parametrize("status_code", [200, 503])
def test_a_status_is_the_json_of_its_parts(timing: Timing | None, headers: Any, status_code: int) -> None:
    expected: dict[str, Any] = {"status_code": status_code, "headers": headers}
    if timing is not None:
        expected["timing"] = timing._asdict()
    assert status_of(Answer(b"", status_code, headers, timing=timing)) == json.dumps(expected).encode()


@pytest.mark.parametrize("count", [1, 3])
def test_a_call_is_sent_once_all_its_answers_have_come(count: int) -> None:
    sent: list[list[Answer]] = []
    finishes = finish_each(count, sent.append)
    for index in reversed(range(count)):
        assert sent == []
        finishes[index](ANSWERS[index])
    assert sent == [ANSWERS[:count]]
