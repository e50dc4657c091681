"""Triton's model repository, open to the launcher alone: load and unload a model, ask whether it is ready.

A model is loaded over gRPC: over HTTP, Triton 2.51 lets a thread of its HTTP server wait until it is loaded, and with
it one in eight of all connections, those of requests to other models included.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cortex_compile.errors import LaunchError, ServiceError
from cortex_compile.launchers.server_log import reason_in_the_users_words

# Triton puts this before the name of a header that opens something over gRPC.
_GRPC_PREFIX = "triton-grpc-protocol-"
# Longer than any answer of a Triton that is well: it does no work in these calls.
_ASK_TIMEOUT_S = 5.0


class ModelControl:
    """The repository of one Triton. May be called from several threads.

    Args:
        address: its HTTP port, as ``127.0.0.1:8000``.
        grpc_address: its gRPC port.
        headers: what opens the model repository over HTTP.
    """

    def __init__(self, address: str, grpc_address: str, headers: Mapping[str, str]) -> None:
        self.address = address
        self._grpc_address = grpc_address
        self._headers = dict(headers)

    def load(self, name: str, timeout_s: float = 300.0) -> None:
        """Load a model and return when it is ready. One that is loaded and unchanged stays as it is.

        Raises:
            LaunchError: it does not load; with the exception that its code raised.
            ServiceError: Triton does not answer, or not in time.
        """
        import grpc
        from tritonclient.grpc.service_pb2 import RepositoryModelLoadRequest
        from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

        token = tuple((f"{_GRPC_PREFIX}{header}", value) for header, value in self._headers.items())
        try:
            with grpc.insecure_channel(self._grpc_address, options=[("grpc.enable_http_proxy", 0)]) as channel:
                ask = GRPCInferenceServiceStub(channel).RepositoryModelLoad
                ask(RepositoryModelLoadRequest(model_name=name), timeout=timeout_s, metadata=token)
        except grpc.RpcError as error:
            details = str(error.details())
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ServiceError(f"Triton at {self._grpc_address} does not load {name!r} ({details})") from error
            # "load failed for model 'NAME': version 1 is at UNAVAILABLE state: Internal: ValueError: …"
            _, _, reason = details.rpartition("UNAVAILABLE state: ")
            raise LaunchError(f"{name!r} does not load: {reason_in_the_users_words(reason)}") from error

    def unload(self, name: str, timeout_s: float = 5.0) -> None:
        """Unload a model: it takes no request from now on. Those that it is at are answered, after this returns.

        Raises:
            ServiceError: Triton does not answer, not in time, or refuses.
        """
        status, answer = self._call("POST", f"/v2/repository/models/{quote(name)}/unload", {}, timeout_s)
        if status != 200:
            raise ServiceError(f"Triton at {self.address} does not unload {name!r}: {answer.get('error', answer)!r}")

    def ready(self, name: str, timeout_s: float = _ASK_TIMEOUT_S) -> bool:
        """Whether Triton says that a model is ready. Triton 2.51 says so of one whose process is dead, too.

        Raises:
            ServiceError: Triton does not answer, or not in time.
        """
        status, _ = self._call("GET", f"/v2/models/{quote(name)}/ready", None, timeout_s)
        return status == 200

    def _call(
        self, method: str, path: str, question: Mapping[str, Any] | None, timeout_s: float
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(self.address, timeout=timeout_s)
        try:
            body = None if question is None else json.dumps(question)
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            said = response.read()
            answer = json.loads(said) if said else {}
        except TimeoutError as error:
            raise ServiceError(f"Triton at {self.address} did not answer {path!r} within {timeout_s:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServiceError(f"Triton at {self.address} does not answer {path!r} ({error!r})") from error
        finally:
            connection.close()
        return response.status, answer if isinstance(answer, dict) else {"error": answer}
