"""A predictor's model in Triton, over gRPC. Raw protobuf: tritonclient's own classes copy and convert the bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from .headers import RawHeaders, is_sendable

__all__ = ["PredictorAnswer", "TritonCallError", "TritonPredictorClient"]

_MARGIN_BYTES = 1024 * 1024  # for the context, whose headers the HTTP server limits


@dataclass(frozen=True)
class PredictorAnswer:
    """What the predictor answered, its own errors included."""

    status_code: int
    headers: RawHeaders
    body: bytes


class TritonCallError(Exception):
    """The call failed: there is no answer of the predictor's. ``details`` are for the log, not for a client."""

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class TritonPredictorClient:
    """One connection to one Triton. To be made, used and closed in one event loop."""

    def __init__(self, address: str, max_body_bytes: int) -> None:
        self.address = address
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

    async def predict(self, model: str, payload: bytes, context: bytes, timeout_s: float) -> PredictorAnswer:
        """Ask a predictor. Cancelling the task cancels the call in Triton.

        Raises:
            TritonCallError: there is no answer, or none that follows the contract.
        """
        request = service_pb2.ModelInferRequest(model_name=model)
        request.inputs.add(name="payload", datatype="UINT8", shape=[len(payload)])
        request.inputs.add(name="context", datatype="UINT8", shape=[len(context)])
        request.raw_input_contents.append(payload)
        request.raw_input_contents.append(context)
        try:
            response = await self._stub.ModelInfer(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise TritonCallError(error.code(), error.details() or "") from error
        try:
            return _answer_of(response)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"model {model!r} answered against its contract: {type(error).__name__}: {error}"
            raise TritonCallError(grpc.StatusCode.INTERNAL, problem) from error

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
        await self._channel.close()


def _answer_of(response: Any) -> PredictorAnswer:
    outputs = zip(response.outputs, response.raw_output_contents, strict=True)
    contents = {output.name: raw for output, raw in outputs}
    status = json.loads(contents["status"])
    status_code, headers = status["status_code"], []
    if not isinstance(status_code, int) or not 200 <= status_code <= 599:
        raise ValueError(f"status code {status_code!r}")
    for name, value in status["headers"]:
        header = (name.encode("latin-1"), value.encode("latin-1"))
        if not is_sendable(*header):
            raise ValueError(f"header {name!r}: {value!r}")
        headers.append(header)
    return PredictorAnswer(status_code, headers, contents["response"])
