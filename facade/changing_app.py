"""The application of a facade that runs, which may be given other APIs: what is under way ends as it began."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from cortex_compile.errors import UsageError

from .app import create_app
from .client_counts import ClientCounts
from .guard import Guard
from .lost_calls import LostCalls
from .metrics import FacadeMetrics
from .orders import State
from .readiness import Readiness
from .routes import PredictionRoute
from .settings import FacadeSettings
from .triton_client import TritonPredictorClient

__all__ = ["ChangingApp"]

_log = logging.getLogger(__name__)


class ChangingApp:
    """An ASGI application. All of it runs in one event loop.

    Args:
        counts: those of clients that the facade's workers share, where it has several.

    Raises:
        UsageError: two APIs are at odds.
    """

    def __init__(
        self,
        state: State,
        triton: TritonPredictorClient,
        settings: FacadeSettings,
        metrics: FacadeMetrics,
        counts: ClientCounts | None = None,
    ) -> None:
        self._triton = triton
        self._settings = settings
        self._metrics = metrics
        self._lost_calls = LostCalls(state.repairs)
        self._guard = Guard(settings, state.keys, counts)
        self._state = state
        self._is_stopping = False
        self._take(self._create(state))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not the application itself, whose own telemetry comes before all else.
        assert self._app.middleware_stack is not None
        await self._app.middleware_stack(scope, receive, _closing(send) if self._is_stopping else send)

    def direct_route(self, target: bytes) -> PredictionRoute | None:
        """What may be asked without this application, of a request's target."""
        return None if self._is_stopping else self._direct.get(target)

    @property
    def serial(self) -> int:
        """That of the state which is served."""
        return self._state.serial

    @property
    def readiness(self) -> Readiness:
        readiness: Readiness = self._app.state.readiness
        return readiness

    def change(self, state: State) -> None:
        """Serve this state from now on; if its APIs cannot be served, those before."""
        self._guard.take_keys(state.keys)
        if state.apis != self._state.apis and not self._is_stopping:
            try:
                self._take(self._create(state))
            except UsageError as error:
                _log.error("%s; what was served before it is served on", error)
                return
        self._state = state
        self._lost_calls.note(state.repairs)

    def stop(self, reason: str) -> None:
        """Not ready from now on; what comes is answered."""
        self._is_stopping = True
        self.readiness.turn_off(reason)

    def _take(self, app: FastAPI) -> None:
        self._app = app
        self._direct: dict[bytes, PredictionRoute] = app.state.direct

    def _create(self, state: State) -> FastAPI:
        return create_app(
            state.apis,
            self._triton,
            self._settings,
            self._metrics,
            faults=lambda: self._state.faults,
            repairs=lambda: self._state.repairs,
            lost_calls=self._lost_calls,
            guard=self._guard,
        )


def _closing(send: Send) -> Send:
    """Tell clients that their connection ends with this answer, so that they send nothing more on it."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return send_and_close
