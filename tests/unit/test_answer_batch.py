"""Server-side batching's contract with predict, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.python_backend.answer import Answer, parse_arguments
from cortex_compile.python_backend.answer_batch import answer_batch
from cortex_compile.python_backend.load_predictor import create_predictor, load_predictor_class
from cortex_compile.python_backend.request import Request
from cortex_compile.python_backend.user_errors import describe_error

pytestmark = pytest.mark.usefixtures("process_as_before")


def answer_all(predictors: Path, *payloads: Any, query: str = "") -> list[Answer]:
    loaded = load_predictor_class(predictors / "batched", "predictor.py")
    requests = [Request(json.dumps(payload).encode(), query_string=query) for payload in payloads]
    batch = [parse_arguments(loaded, request) for request in requests]
    return answer_batch(create_predictor(loaded, {}), loaded, batch)


def test_every_argument_is_a_list_and_answers_keep_their_order(predictors: Path) -> None:
    answers = answer_all(predictors, 1, "response", {"a": 2}, query="q=x")
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    first, last = json.loads(answers[0].body), json.loads(answers[2].body)
    assert (first["item"], last["item"]) == (1, {"a": 2})
    assert first["batch"] == [1, "response", {"a": 2}]
    assert (first["query"], first["header"], first["batch_id"], first["batches"]) == ("x", None, None, 1)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("short", "predict: returned a list of 1 for a batch of 2 requests; return one result for each"),
        ("text", "predict: please return a list when using server side batching, got <class 'str'>; it needs one"),
        ("fail", "KeyError: 'a secret'"),
    ],
)
def test_what_goes_wrong_with_a_batch_goes_wrong_for_each(predictors: Path, payload: str, message: str) -> None:
    answers = answer_all(predictors, 1, payload)
    assert [(answer.status_code, answer.body) for answer in answers] == [(500, b"internal server error")] * 2
    error = answers[0].error
    assert error is not None
    file = predictors / "batched" / "predictor.py"
    text = describe_error(error, file.parent)
    assert text.startswith(f"{file}:")
    assert message in text


def test_a_raised_http_exception_is_the_answer_to_each(predictors: Path) -> None:
    answers = answer_all(predictors, 1, "refuse")
    assert [(answer.status_code, answer.body, answer.error) for answer in answers] == [(503, b"come again", None)] * 2


def test_one_result_that_cannot_be_answered_is_one_requests_error(predictors: Path) -> None:
    answers = answer_all(predictors, 1, "set", 2)
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert "builtins.set is not a type that JSON has" in str(answers[1].error)
