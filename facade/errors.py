"""What an HTTP client is told when the facade itself cannot answer. No other file maps an error to a status."""

from __future__ import annotations

import grpc

__all__ = [
    "HttpError",
    "ending",
    "error_of_triton",
    "no_valid_key",
    "overloaded",
    "too_large",
    "too_many_of_client",
    "too_slow",
]


class HttpError(Exception):
    """An answer of the facade's own. ``message`` goes to the client, so it holds nothing internal."""

    def __init__(
        self,
        status_code: int,
        message: str,
        *,
        retry_after_s: int | None = None,
        challenge: str | None = None,
        close: bool = False,
    ):
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.retry_after_s = retry_after_s
        self.challenge = challenge
        """How to say who one is."""
        self.close = close
        """The rest of the request was not read, so the connection cannot be used again."""


_RETRY_AFTER_S = 1
_INTERNAL = (500, "internal server error")
_NOT_THERE = (503, "the model is not ready; try again")
_TOO_LATE = (504, "the model did not answer in time")

_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: _NOT_THERE,
    grpc.StatusCode.NOT_FOUND: _NOT_THERE,  # the model is being loaded again
    grpc.StatusCode.RESOURCE_EXHAUSTED: _NOT_THERE,
    grpc.StatusCode.CANCELLED: _NOT_THERE,  # Triton is stopping: a client that left is told nothing
    grpc.StatusCode.DEADLINE_EXCEEDED: _TOO_LATE,
}
_NO_MEMORY = (503, "the server has no memory left for this request; try again")
# Triton says INTERNAL for both. The launcher is about to load the model of the second again.
_FULL_MEMORY = "Failed to increase the shared memory pool size"
_DEAD_PROCESS = "is not healthy"


def is_lost(code: grpc.StatusCode, details: str) -> bool:
    """Whether a call failed because Triton, or the model's process, was not there or ended: no answer is to come."""
    return code == grpc.StatusCode.UNAVAILABLE or is_refused(code, details)


def is_refused(code: grpc.StatusCode, details: str) -> bool:
    """Whether Triton refused a call since the model's process is dead, or is just being replaced: it has not begun."""
    return code == grpc.StatusCode.NOT_FOUND or _DEAD_PROCESS in details


def error_of_triton(code: grpc.StatusCode, details: str) -> HttpError:
    """The answer for a call to Triton that failed. An error of the predictor is no such failure."""
    status_code, message = _BY_CODE.get(code, _INTERNAL)
    if _DEAD_PROCESS in details:
        status_code, message = _NOT_THERE
    elif _FULL_MEMORY in details:
        status_code, message = _NO_MEMORY
    return HttpError(status_code, message, retry_after_s=_RETRY_AFTER_S if status_code == 503 else None)


def overloaded(max_concurrency: int) -> HttpError:
    message = f"too many requests are in flight: this API's limit is {max_concurrency}; try again"
    return HttpError(503, message, retry_after_s=_RETRY_AFTER_S)


def ending() -> HttpError:
    return HttpError(503, "the server is ending; try again", retry_after_s=_RETRY_AFTER_S)


def too_many_of_client(max_concurrency: int) -> HttpError:
    message = f"you have too many requests under way: the limit of a client is {max_concurrency}; try again"
    return HttpError(429, message, retry_after_s=_RETRY_AFTER_S)


def no_valid_key(some_key: bool) -> HttpError:
    problem = "this API key is not valid" if some_key else "an API key is needed"
    message = f"{problem}; send one as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"
    challenge = 'Bearer realm="cortex-compile"'
    return HttpError(401, message, challenge=f'{challenge}, error="invalid_token"' if some_key else challenge)


def too_large(max_body_bytes: int) -> HttpError:
    return HttpError(413, f"the request body is larger than {max_body_bytes} bytes", close=True)


def too_slow(timeout_s: float) -> HttpError:
    return HttpError(408, f"the request body did not arrive within {timeout_s:g} s", close=True)
