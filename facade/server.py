"""Running the facade in this process until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
import uvloop

from cortex_compile.errors import ServiceError

from .changing_app import ChangingApp
from .client_counts import ClientCounts
from .direct_protocol import direct_protocol
from .listener import accept_waiting
from .metrics import FacadeMetrics
from .orders import State
from .settings import FacadeSettings
from .tls import keep_renewed, tls_context
from .triton_client import TritonPredictorClient

__all__ = ["run_facade"]

# How often the date of answers is renewed, and how often at least it is told that this process moves.
_TICK_EVERY_S, _TELL_AFTER_S = 1.0, 4
# Which bodies are too large is each API's to say, and those may change.
_LARGEST_MESSAGE = 2**31 - 2**21
_HANDSHAKES_S = 1.0  # of TLS, for those who had connected when the server was told to stop
_KEEP_ALIVE_S = 75  # longer than the idle connections of common load balancers, so that they close first


Take = Callable[[State], None]


def run_facade(
    listener: socket.socket,
    state: State,
    triton_address: str,
    settings: FacadeSettings,
    *,
    metrics: FacadeMetrics,
    check_ready: bool,
    tell: Callable[[int], None],
    follow: Callable[[Take], None],
    counts: ClientCounts | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is under way and return.

    Args:
        check_ready: whether Triton must be ready to begin with.
        tell: is told the serial of the state that is served, at first, when it changes and every few seconds.
        follow: is given what takes another state, and may call that from any thread.
        counts: those of clients that several workers share.

    Raises:
        ServiceError: Triton, or a model in it, is not ready to begin with.
        UsageError: two APIs are at odds, or the certificate cannot be used.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(listener, state, triton_address, settings, metrics, check_ready, tell, follow, counts))


async def _run(
    listener: socket.socket,
    state: State,
    triton_address: str,
    settings: FacadeSettings,
    metrics: FacadeMetrics,
    check_ready: bool,
    tell: Callable[[int], None],
    follow: Callable[[Take], None],
    counts: ClientCounts | None,
) -> None:
    triton = TritonPredictorClient(triton_address, _LARGEST_MESSAGE, settings.triton_http_address)
    try:
        app = ChangingApp(state, triton, settings, metrics, counts)
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http=direct_protocol(settings, app.direct_route),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here asks where a request came from
            timeout_keep_alive=_KEEP_ALIVE_S,
            callback_notify=partial(_tell, tell, app),
            timeout_notify=_TELL_AFTER_S,
            timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]  # it may be a fraction
        )
        if check_ready:
            await _check_ready(app, triton_address)
        server = _Server(config, app)
        renewing = None
        if settings.tls_certificate is not None and settings.tls_key is not None:
            config.load()
            config.ssl = tls_context(settings.tls_certificate, settings.tls_key)
            renewing = asyncio.create_task(keep_renewed(config.ssl, settings.tls_certificate, settings.tls_key))
        loop = asyncio.get_running_loop()

        def take(changed: State) -> None:
            app.change(changed)
            tell(app.serial)

        follow(lambda changed: _call_in(loop, take, changed))
        # What is there now stays: looking through it for garbage again and again would hold up requests.
        gc.collect()
        gc.freeze()
        try:
            await server.serve(sockets=[listener])
        finally:
            if renewing is not None:
                renewing.cancel()
    finally:
        await triton.close()


def _call_in(loop: asyncio.AbstractEventLoop, take: Take, state: State) -> None:
    with contextlib.suppress(RuntimeError):  # it has closed: there is nobody to take it
        loop.call_soon_threadsafe(take, state)


async def _check_ready(app: ChangingApp, triton_address: str) -> None:
    report = await app.readiness.check()
    if not report["triton"]:
        raise ServiceError(
            f"no Triton is ready at {triton_address}; start one, or give the address of its gRPC port (8001 by default)"
        )
    missing = [name for name, ready in report["models"].items() if not ready]
    if missing:
        raise ServiceError(f"Triton at {triton_address} has no ready model {missing[0]!r}; load the build there first")


class _Server(uvicorn.Server):
    """Turns readiness off at the signal, and does not raise the signal again when all is answered."""

    def __init__(self, config: uvicorn.Config, app: ChangingApp) -> None:
        super().__init__(config)
        self._told_to_stop = False
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.stop("the server is stopping")
        self.force_exit = self._told_to_stop  # a second signal does not wait for answers
        self._told_to_stop = self.should_exit = True
        self._loop.call_soon_threadsafe(self._stop.set)

    async def main_loop(self) -> None:
        """uvicorn's own looks ten times a second whether it was told to stop, and each time some request waits."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_EVERY_S):
                    await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        waiting = [listener.dup() for listener in sockets or ()]  # uvicorn closes its own with those that wait there
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)
        loop, tls = asyncio.get_running_loop(), self.config.ssl
        connecting = [
            loop.connect_accepted_socket(self._protocol, connection, ssl=tls)
            for listener in waiting
            for connection in accept_waiting(listener)
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HANDSHAKES_S):
                await asyncio.gather(*connecting, return_exceptions=True)  # some may have left
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


async def _tell(tell: Callable[[int], None], app: ChangingApp) -> None:
    tell(app.serial)
