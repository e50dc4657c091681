"""One request answered by the user's predictor. The same function serves and is watched by the compiler."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .coroutines import wait_for
from .errors import CoreOverloaded, PredictorError
from .load_predictor import LoadedClass
from .request import BadRequest, Request, parse_headers, parse_payload, parse_query_params
from .response import EncodedResponse, encode
from .signatures import line_of_method
from .streams import Stream, open_stream
from .timing import Timing
from .user_errors import describe_error

__all__ = [
    "Answer",
    "answer",
    "answer_bad_request",
    "answer_error",
    "begin_answer",
    "call",
    "describe_error",
    "finish_answer",
    "parse_arguments",
]

_PLAIN_TEXT = (("content-type", "text/plain; charset=utf-8"),)
# What may come out of the user's Python and is an answer to this request alone.
RAISED = (Exception, SystemExit, asyncio.CancelledError, CoreOverloaded)
_OVERLOADED = {
    503: (b"Service Unavailable", (*_PLAIN_TEXT, ("retry-after", "1"))),
    504: (b"Gateway Timeout", _PLAIN_TEXT),
}


@dataclass(frozen=True)
class Answer:
    """What the client gets. ``error`` is what went wrong behind a 500, for the log and never for the client.

    ``background`` is the user's work for after the answer was sent (post_predict, a response's background task). It
    may raise. ``streamed`` is True if it was made in chunks, though it is whole here.
    """

    body: bytes
    status_code: int
    headers: tuple[tuple[str, str], ...]
    error: BaseException | None = None
    background: Callable[[], None] | None = None
    streamed: bool = False
    timing: Timing | None = None


def answer(predictor: object, loaded: LoadedClass, request: Request) -> Answer:
    """Parse what predict asks for, call it and encode what it returns. Each thing that can go wrong is an answer."""
    return _whole(begin_answer(predictor, loaded, request))


def begin_answer(predictor: object, loaded: LoadedClass, request: Request) -> Answer | Stream:
    """As ``answer``, but what predict streams is only begun: what can go wrong up to its first chunk is an answer."""
    try:
        arguments = parse_arguments(loaded, request)
        result = call(predictor, "predict", arguments, loaded.predict_arguments)
    except BadRequest as problem:
        return answer_bad_request(problem)
    except RAISED as error:
        return answer_error(error)
    return _finish_or_begin(predictor, loaded, arguments, result)


def finish_answer(predictor: object, loaded: LoadedClass, arguments: dict[str, Any], result: object) -> Answer:
    """Encode what predict returned for these arguments."""
    return _whole(_finish_or_begin(predictor, loaded, arguments, result))


def _finish_or_begin(
    predictor: object, loaded: LoadedClass, arguments: dict[str, Any], result: object
) -> Answer | Stream:
    try:
        encoded = _encode(result, loaded)
    except RAISED as error:
        return answer_error(error)
    background = _join_background(predictor, loaded, result, arguments, encoded.background)
    if isinstance(encoded, Stream):
        return replace(encoded, background=background)
    return Answer(encoded.body, encoded.status_code, encoded.headers, background=background)


def _whole(begun: Answer | Stream) -> Answer:
    if isinstance(begun, Answer):
        return begun
    try:
        body = b"".join((begun.first, *begun.rest))
    except RAISED as error:
        return replace(answer_error(error), streamed=True)
    finally:
        begun.close()
    return Answer(body, begun.status_code, begun.headers, background=begun.background, streamed=True)


def parse_arguments(loaded: LoadedClass, request: Request) -> dict[str, Any]:
    """Only what is asked for: a predictor without payload answers any body.

    Raises:
        BadRequest: the request is not what its headers say.
    """
    wanted = loaded.predict_arguments + (loaded.post_predict_arguments or ())
    arguments: dict[str, Any] = {"batch_id": None}
    if "payload" in wanted:
        arguments["payload"] = parse_payload(request)
    if "query_params" in wanted:
        arguments["query_params"] = parse_query_params(request)
    if "headers" in wanted:
        arguments["headers"] = parse_headers(request)
    return arguments


def call(predictor: object, method: str, offered: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    process = os.getpid()
    try:
        result = getattr(predictor, method)(**{name: offered[name] for name in names})
        return wait_for(result) if inspect.isawaitable(result) else result
    finally:
        # The user's code forked: this is the copy, and its answer would be the second one.
        if os.getpid() != process:
            os._exit(0)


def _encode(result: object, loaded: LoadedClass) -> EncodedResponse | Stream:
    try:
        stream = open_stream(result, nan_as_null=loaded.nan_as_null)
        if stream is None:
            return encode(result, nan_as_null=loaded.nan_as_null)
    except (TypeError, ValueError) as error:
        raise _not_answerable(error, loaded) from error
    return replace(stream, rest=_encode_rest(stream.rest, loaded))


def _encode_rest(chunks: Iterator[bytes], loaded: LoadedClass) -> Iterator[bytes]:
    while True:
        try:
            chunk = next(chunks, None)
        except (TypeError, ValueError) as error:
            raise _not_answerable(error, loaded) from error
        if chunk is None:
            return
        yield chunk


def _not_answerable(error: TypeError | ValueError, loaded: LoadedClass) -> PredictorError:
    place = f"{loaded.file}:{line_of_method(loaded.cls, 'predict')}"
    # What streams runs the user's code, whose error is told as any other.
    text = describe_error(error, loaded.project, otherwise=f"{place}: predict returned what cannot be answered")
    return PredictorError(text)


def answer_bad_request(problem: BadRequest) -> Answer:
    return Answer(problem.body, problem.status_code, (("content-type", problem.media_type),))


def answer_error(error: BaseException) -> Answer:
    """A plain 500, what a raised HTTPException says, or that there is too much to do."""
    if isinstance(error, CoreOverloaded):
        body, overloaded_headers = _OVERLOADED[error.status_code]
        return Answer(body, error.status_code, overloaded_headers)
    exceptions = sys.modules.get("starlette.exceptions")
    if exceptions is not None and isinstance(error, exceptions.HTTPException):
        # Cortex sent the detail as it is, without JSON around it.
        headers = tuple((error.headers or {}).items())
        typed = any(name.lower() == "content-type" for name, _ in headers)
        return Answer(str(error.detail).encode(), error.status_code, headers if typed else (*_PLAIN_TEXT, *headers))
    return Answer(b"internal server error", 500, _PLAIN_TEXT, error)


def _join_background(
    predictor: object,
    loaded: LoadedClass,
    result: object,
    arguments: dict[str, Any],
    task: Callable[[], None] | None,
) -> Callable[[], None] | None:
    names = loaded.post_predict_arguments
    if names is None:
        return task

    def run_both() -> None:
        try:
            if task is not None:
                task()
        finally:
            call(predictor, "post_predict", {**arguments, "response": result}, names)

    return run_both
