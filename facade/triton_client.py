"""A predictor's model in Triton: over gRPC, and what is over in a moment over HTTP.

Raw protobuf: tritonclient's own classes copy and convert the bytes.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from .triton_answer import (
    PredictorAnswer,
    PredictorStream,
    TritonCallError,
    cancel_later,
    forget,
    read_answer,
    read_answers,
)
from .triton_http import LARGEST_QUICK_BYTES, TritonHttpClient

__all__ = ["PredictorAnswer", "PredictorStream", "TritonCallError", "TritonPredictorClient"]

_MARGIN_BYTES = 1024 * 1024  # for the context, whose headers the HTTP server limits
# A Triton that was stopped goes on within that time, or is replaced.
_LONGEST_STOP_S = 20.0


class TritonPredictorClient:
    """One connection to one Triton. To be made, used and closed in one event loop."""

    def __init__(self, address: str, max_body_bytes: int, http_address: str | None = None) -> None:
        """
        Args:
            http_address: where the same Triton listens for HTTP, if that is known.
        """
        self.address = address
        self._http = None if http_address is None else TritonHttpClient(http_address)
        options = [
            ("grpc.max_send_message_length", max_body_bytes + _MARGIN_BYTES),
            ("grpc.max_receive_message_length", -1),
            # Triton is a neighbour: it is back at once, or it is gone; and no proxy is on the way to it.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._left: set[asyncio.Future[Any]] = set()

    async def predict(
        self, model: str, payload: bytes, context: bytes, timeout_s: float, cancel_after_s: float | None = None
    ) -> PredictorAnswer:
        """Ask a predictor. Cancelling the task cancels the call in Triton, ``cancel_after_s`` after it was sent at the
        earliest (see ``cancel_later``).

        Raises:
            TritonCallError: there is no answer, or none that follows the contract.
        """
        return read_answer(await self._infer(_request(model, payload, context), timeout_s, cancel_after_s))

    async def predict_many(
        self,
        model: str,
        payloads: Sequence[bytes],
        contexts: Sequence[bytes],
        timeout_s: float,
        cancel_after_s: float | None = None,
    ) -> list[PredictorAnswer]:
        """Ask for several predictions in one call, or one. Each is answered for itself.

        Raises:
            TritonCallError: there are no answers, or none that follow the contract.
        """
        if len(payloads) == 1:
            return [await self.predict(model, payloads[0], contexts[0], timeout_s, cancel_after_s)]
        request = _request(model, b"".join(payloads), b"".join(contexts))
        sizes = [*map(len, payloads), *map(len, contexts)]
        request.inputs.add(name="_sizes", datatype="INT64", shape=[2, len(payloads)])
        request.raw_input_contents.append(struct.pack(f"<{len(sizes)}q", *sizes))
        return read_answers(await self._infer(request, timeout_s, cancel_after_s), len(payloads))

    async def predict_quickly(
        self,
        model: str,
        payloads: Sequence[bytes],
        contexts: Sequence[bytes],
        timeout_s: float,
        cancel_after_s: float | None = None,
    ) -> list[PredictorAnswer]:
        """As ``predict_many``, in the way that takes least of a call; once sent it is not cancelled in Triton.

        Raises:
            TritonCallError: there are no answers, or none that follow the contract.
        """
        if self._http is None or sum(map(len, payloads)) + sum(map(len, contexts)) > LARGEST_QUICK_BYTES:
            return await self.predict_many(model, payloads, contexts, timeout_s, cancel_after_s)
        return await self._http.predict_many(model, payloads, contexts, timeout_s)

    async def _infer(self, request: Any, timeout_s: float, cancel_after_s: float | None) -> Any:
        call = self._stub.ModelInfer(request)
        sent_s = time.monotonic()
        answer = asyncio.ensure_future(_answer_of(call))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(answer)
        except TimeoutError:
            # The model's process drops by itself what is too late; and where Triton is stopped, the call has not left
            # its queue (see ``cancel_later``).
            self._leave(call, answer, sent_s, None if cancel_after_s is None else timeout_s + _LONGEST_STOP_S)
            raise TritonCallError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            self._leave(call, answer, sent_s, cancel_after_s)
            raise

    def _leave(self, call: Any, answer: asyncio.Future[Any], sent_s: float, cancel_after_s: float | None) -> None:
        self._left.add(answer)
        answer.add_done_callback(self._left.discard)
        answer.add_done_callback(forget)
        cancel_later(call, answer, sent_s, cancel_after_s)

    async def stream(
        self, model: str, payload: bytes, context: bytes, timeout_s: float, cancel_after_s: float | None = None
    ) -> PredictorAnswer:
        """Ask a predictor that streams: the answer with its first chunk, and a ``rest`` if there may be more.

        ``timeout_s`` is how long each chunk may take. Cancelling the task, or the rest, cancels the call in Triton.

        Raises:
            TritonCallError: there is no answer, or none that follows the contract.
        """
        request = _request(model, payload, context)
        request.parameters["triton_enable_empty_final_response"].bool_param = True
        # With this Triton ends the call with a status, and not with words alone.
        call = self._stub.ModelStreamInfer(metadata=(("triton_grpc_error", "true"),))
        stream = PredictorStream(call, timeout_s, cancel_after_s)
        return await stream.begin(request)

    async def is_server_ready(self, timeout_s: float) -> bool:
        return await self._is_ready(self._stub.ServerReady, service_pb2.ServerReadyRequest(), timeout_s)

    async def is_model_ready(self, model: str, timeout_s: float) -> bool:
        return await self._is_ready(self._stub.ModelReady, service_pb2.ModelReadyRequest(name=model), timeout_s)

    async def _is_ready(self, call: Any, request: Any, timeout_s: float) -> bool:
        try:
            response = await call(request, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.ready)

    async def close(self) -> None:
        if self._http is not None:
            self._http.close()
        await self._channel.close()


async def _answer_of(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise TritonCallError(error.code(), error.details() or "") from error


def _request(model: str, payload: bytes, context: bytes) -> Any:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="payload", datatype="UINT8", shape=[len(payload)])
    request.inputs.add(name="context", datatype="UINT8", shape=[len(context)])
    request.raw_input_contents.append(payload)
    request.raw_input_contents.append(context)
    return request
