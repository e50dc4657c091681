"""Requests to a running server."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from types import ModuleType

import numpy as np


def echo(client_module: ModuleType, url: str, model: str = "echo") -> list[int]:
    """What ``tritonclient.http`` or ``tritonclient.grpc`` gets from the model that answers what it was asked."""
    client = client_module.InferenceServerClient(url)
    try:
        tensor = client_module.InferInput("x", [3], "UINT8")
        tensor.set_data_from_numpy(np.array([1, 2, 3], np.uint8))
        answer: list[int] = client.infer(model, [tensor]).as_numpy("y").tolist()
        return answer
    finally:
        client.close()


def status_of(address: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> int:
    """The status of a bare HTTP request."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
