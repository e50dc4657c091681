from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.python_backend.answer import Answer, answer, begin_answer, describe_error
from cortex_compile.python_backend.load_predictor import LoadedClass, create_predictor, load_predictor_class
from cortex_compile.python_backend.request import Request
from cortex_compile.python_backend.streams import Stream

pytestmark = pytest.mark.usefixtures("process_as_before")

TEXT = ("content-type", "text/plain; charset=utf-8")


@pytest.fixture
def kinds(predictors: Path) -> tuple[object, LoadedClass]:
    loaded = load_predictor_class(predictors / "kinds", "predictor.py")
    return create_predictor(loaded, {}), loaded


def ask(kinds: tuple[object, LoadedClass], kind: str) -> Answer:
    return answer(*kinds, Request(f'"{kind}"'.encode()))


@pytest.mark.parametrize(
    ("kind", "status_code", "body", "headers"),
    [
        (
            "json_response",
            400,
            b'{"error":"unknown model"}',
            (("x-model", "none"), ("content-type", "application/json")),
        ),
        ("stream", 200, b"one two", (("content-type", "video/mp4"),)),
        ("stream_later", 206, b"three", ()),
        ("refuse", 418, b"short and stout", (TEXT, ("x-pot", "tea"))),
    ],
)
def test_answers(
    kinds: tuple[object, LoadedClass],
    kind: str,
    status_code: int,
    body: bytes,
    headers: tuple[tuple[str, str], ...],
) -> None:
    found = ask(kinds, kind)
    assert (found.status_code, found.body, found.headers) == (status_code, body, headers)
    assert found.error is None


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("fail", "FILE:55: KeyError: 'no such label'"),
        ("leave", "FILE:58: SystemExit: bye"),
        ("no_such_method", "FILE:31: AttributeError: 'PythonPredictor' object has no attribute 'no_such_method'"),
        ("broken_stream", "FILE:23: OSError: the disk is gone"),
        (
            "not_json",
            "FILE:30: predict returned what cannot be answered: TypeError: builtins.set is not a type that JSON has",
        ),
        (
            "not_finite",
            "FILE:30: predict returned what cannot be answered: "
            "ValueError: nan at $.scores[1] is not JSON; replace it, by None for example",
        ),
    ],
)
def test_errors_are_500_without_details_and_name_the_users_line(
    kinds: tuple[object, LoadedClass], kind: str, description: str
) -> None:
    found = ask(kinds, kind)
    assert (found.status_code, found.body, found.headers) == (500, b"internal server error", (TEXT,))
    assert found.error is not None
    loaded = kinds[1]
    assert describe_error(found.error, loaded.project).replace(str(loaded.file), "FILE") == description


@pytest.mark.parametrize(("kind", "expected"), [("stream", "stream"), ("with_task", "json")])
def test_background_task_runs_when_it_is_told_to(kinds: tuple[object, LoadedClass], kind: str, expected: str) -> None:
    found = ask(kinds, kind)
    done: list[Any] = kinds[1].module.__dict__["DONE"]
    assert done == []
    assert found.background is not None
    found.background()
    assert done == [expected]


def test_what_streams_is_answered_whole_and_said_to_have_streamed(predictors: Path) -> None:
    loaded = load_predictor_class(predictors / "streams", "predictor.py")
    predictor = create_predictor(loaded, {})
    for kind in ("generator", "async_generator", "response", "async_response"):
        found = answer(predictor, loaded, Request(f'{{"do": "{kind}"}}'.encode()))
        assert (found.body, found.streamed, found.error) == (b"one two", True, None), kind
    assert not answer(predictor, loaded, Request(b'{"do": "whole"}')).streamed


def test_a_stream_is_begun_no_further_than_its_first_chunk(predictors: Path, tmp_path: Path) -> None:
    loaded = load_predictor_class(predictors / "streams", "predictor.py")
    predictor = create_predictor(loaded, {})
    ended = tmp_path / "ended"
    begun = begin_answer(predictor, loaded, Request(f'{{"do": "generator", "ended": "{ended}"}}'.encode()))
    assert isinstance(begun, Stream)
    assert (begun.first, ended.exists()) == (b"one ", False)
    begun.close()
    assert ended.exists()


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("fail_at_once", "KeyError: 'no such key'"),
        ("fail_later", "OSError: the disk is gone"),
        (
            "not_json_later",
            "predict returned what cannot be answered: TypeError: builtins.set is not a type that JSON has",
        ),
    ],
)
def test_a_stream_that_fails_is_a_500_when_it_is_answered_whole(predictors: Path, kind: str, description: str) -> None:
    loaded = load_predictor_class(predictors / "streams", "predictor.py")
    found = answer(create_predictor(loaded, {}), loaded, Request(f'{{"do": "{kind}"}}'.encode()))
    assert (found.status_code, found.body) == (500, b"internal server error")
    assert found.error is not None
    told = describe_error(found.error, loaded.project)
    assert told.startswith(str(loaded.file))
    assert told.endswith(description)


def test_bad_json_is_400_without_an_error(kinds: tuple[object, LoadedClass]) -> None:
    found = answer(*kinds, Request(b"{"))
    assert (found.status_code, found.error) == (400, None)
    assert found.headers == (("content-type", "application/json"),)


def test_arguments_by_name_and_post_predict_with_what_predict_returned(predictors: Path) -> None:
    loaded = load_predictor_class(predictors / "injected", "predictor.py")
    predictor = create_predictor(loaded, {})
    found = answer(predictor, loaded, Request(b'{"a": 1}', query_string="k=1&k=2", headers=(("x-word", "w"),)))
    assert (found.status_code, found.body) == (200, b'[{"a": 1}, ["1", "2"], "w", null]')
    events: list[Any] = loaded.module.__dict__["EVENTS"]
    assert events == [["batch_id", "headers", "payload", "query_params"]]
    assert found.background is not None
    found.background()
    assert events[1:] == [[{"a": 1}, {"a": 1}]]


def test_payload_is_parsed_for_post_predict_alone(tmp_path: Path) -> None:
    (tmp_path / "predictor.py").write_text(
        "class PythonPredictor:\n"
        "    def __init__(self, config): self.seen = []\n"
        "    def predict(self): return 1\n"
        "    def post_predict(self, payload): self.seen.append(payload)\n"
    )
    loaded = load_predictor_class(tmp_path, "predictor.py")
    predictor: Any = create_predictor(loaded, {})
    found = answer(predictor, loaded, Request(b"[2]"))
    assert found.background is not None
    found.background()
    assert predictor.seen == [[2]]


def test_description_of_an_error_that_the_users_code_never_saw(tmp_path: Path) -> None:
    assert describe_error(ValueError("a\n b"), tmp_path) == "ValueError: a b"
    assert describe_error(KeyError(), tmp_path, otherwise="x.py:3") == "x.py:3: KeyError"


def test_the_users_line_is_found_behind_a_librarys_own_error(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text("def run(): raise LookupError('mine')\n")
    sys.path.insert(0, str(tmp_path))
    user = __import__("user")
    with pytest.raises(LookupError) as inner:
        user.run()
    error = RuntimeError("the library's")
    error.__cause__ = inner.value
    assert describe_error(error, tmp_path) == f"{tmp_path}/user.py:1: LookupError: mine"
