"""What goes back to Triton for a call: one response, or the chunks of a stream and then its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from .answer import Answer
from .logs import RUNTIME_LOGGER
from .streams import Stream
from .tensors import tensor_of
from .triton_call import join_answers, status_of

__all__ = ["response_of", "send_answer", "send_answers", "send_stream"]

_LOGGER = logging.getLogger(f"{RUNTIME_LOGGER}.replies")


def send_answers(sender: Any, answers: Sequence[Answer], wanted: Container[str]) -> None:
    """Send ``response_of`` the answers, by the call's response sender."""
    _send_only(sender, response_of(answers, wanted))


def response_of(answers: Sequence[Answer], wanted: Container[str]) -> Any:
    """The one and final response of a call with several predictions, or one; ``wanted`` names its outputs."""

    def make_tensors() -> list[Any]:
        joined = join_answers(answers)
        tensors = []
        if "response" in wanted:
            tensors.append(tensor_of("response", joined.response))
        if "status" in wanted:
            tensors.append(tensor_of("status", joined.status))
        if "_sizes" in wanted:
            tensors.append(tensor_of("_sizes", joined.sizes))
        return tensors

    return _response(make_tensors)


def send_answer(sender: Any, answer: Answer) -> None:
    """The one and final response of a model that streams, where there is nothing to stream."""
    _send_only(sender, _response(lambda: [_vector("response", answer.body), _vector("status", status_of(answer))]))


def send_stream(
    sender: Any, stream: Stream, before_end: Callable[[], None], tell: Callable[[BaseException], None]
) -> bool:
    """Send a stream until it ends, it fails, or its client has left. True unless it failed.

    ``before_end`` is called before the client can know that it is over; ``tell`` is given what the user's code raised.
    """
    error: BaseException | None = None
    try:
        _send_chunks(sender, stream)
    except BaseException as raised:
        # The client of a stream without an end waits for ever, so not even this may pass.
        error = raised
    try:
        stream.close()
    except BaseException as raised:
        error = error or raised
    try:
        before_end()
        if error is not None:
            tell(error)
    finally:
        _end(sender, failed=error is not None)
    return error is None


def _send_chunks(sender: Any, stream: Stream) -> None:
    import triton_python_backend_utils as pb_utils

    first = [_vector("response", stream.first), _vector("status", status_of(stream))]
    sender.send(pb_utils.InferenceResponse(first))
    while not sender.is_cancelled():
        chunk = next(stream.rest, None)
        if chunk is None:
            return
        sender.send(pb_utils.InferenceResponse([_vector("response", chunk)]))


def _end(sender: Any, failed: bool) -> None:
    import triton_python_backend_utils as pb_utils

    flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    try:
        if failed:
            problem = pb_utils.TritonError("the answer broke off; the server's log says why")
            sender.send(pb_utils.InferenceResponse(error=problem), flags=flags)
        else:
            sender.send(flags=flags)
    except Exception:
        _LOGGER.exception("the end of a stream could not be sent")


def _response(make_tensors: Callable[[], list[Any]]) -> Any:
    import triton_python_backend_utils as pb_utils

    try:
        return pb_utils.InferenceResponse(make_tensors())
    except Exception:
        _LOGGER.exception("an answer could not be put into a response")
        return pb_utils.InferenceResponse(error=pb_utils.TritonError("internal server error"))


def _send_only(sender: Any, response: Any) -> None:
    import triton_python_backend_utils as pb_utils

    try:
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    except Exception:
        _LOGGER.exception("an answer could not be sent")


def _vector(name: str, data: bytes) -> Any:
    # A bytearray, since an array over bytes is read-only and DLPack refuses it.
    return tensor_of(name, np.frombuffer(bytearray(data), dtype=np.uint8))
