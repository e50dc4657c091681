"""One request to a predictor's model, by Triton's gRPC."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tritonclient.grpc

__all__ = ["ask", "ask_json"]


def ask(address: str, model: str, body: bytes, context: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
    """The status and the body that the predictor answers."""
    inputs = []
    for name, data in (("payload", body), ("context", json.dumps(dict(context or {})).encode())):
        tensor = tritonclient.grpc.InferInput(name, [len(data)], "UINT8")
        tensor.set_data_from_numpy(np.frombuffer(data, np.uint8))
        inputs.append(tensor)
    client = tritonclient.grpc.InferenceServerClient(address)
    try:
        result = client.infer(model, inputs)
        status = json.loads(result.as_numpy("status").tobytes())["status_code"]
        return status, result.as_numpy("response").tobytes()
    finally:
        client.close()


def ask_json(address: str, model: str, payload: Any, **context: Any) -> Any:
    """What the predictor answers in JSON, which has to be a success."""
    status, body = ask(address, model, json.dumps(payload).encode(), context)
    assert status == 200, body
    return json.loads(body)
