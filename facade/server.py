"""Running the facade in this process until a signal, or until Triton has ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
import uvloop

from cortex_compile.errors import LaunchError, ServiceError

from .api_route import ApiRoute
from .app import create_app
from .http_protocol import limited_protocol
from .readiness import Readiness
from .settings import FacadeSettings
from .tls import keep_renewed, tls_context
from .triton_client import TritonPredictorClient

__all__ = ["listen", "run_facade"]

_POLL_S = 0.25
_KEEP_ALIVE_S = 75  # longer than the idle connections of common load balancers, so that they close first


def listen(host: str, port: int) -> socket.socket:
    """Take the facade's port; 0 takes a free one. Nobody is answered until the facade runs.

    Raises:
        LaunchError: the port is taken, may not be used, or the host is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise LaunchError(f"--host {host!r} is no address of this machine ({error}); try 127.0.0.1") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Without this, two facades that start at a time could both take the port.
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise LaunchError(f"port {port} of {host} cannot be used ({reason}); choose another with --port PORT") from None
    return listener


def run_facade(
    listener: socket.socket,
    apis: Sequence[ApiRoute],
    triton_address: str,
    settings: FacadeSettings,
    *,
    when_ready: Callable[[], None],
    poll_triton: Callable[[], int | None],
) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is under way and return.

    ``poll_triton`` gives Triton's exit status once it has ended.

    Raises:
        LaunchError: Triton ended.
        ServiceError: Triton, or a model in it, is not ready to begin with.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(listener, apis, triton_address, settings, when_ready, poll_triton))


async def _run(
    listener: socket.socket,
    apis: Sequence[ApiRoute],
    triton_address: str,
    settings: FacadeSettings,
    when_ready: Callable[[], None],
    poll_triton: Callable[[], int | None],
) -> None:
    triton = TritonPredictorClient(triton_address, max((api.max_body_bytes for api in apis), default=0))
    try:
        app = create_app(apis, triton, settings)
        config = uvicorn.Config(
            app,
            http=limited_protocol(settings),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here asks where a request came from
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]  # it may be a fraction
        )
        await _check_ready(app.state.readiness, triton_address)
        server = _Server(config, app.state.readiness)
        tasks = [asyncio.create_task(_watch(server, app.state.readiness, when_ready, poll_triton))]
        if settings.tls_certificate is not None and settings.tls_key is not None:
            config.load()
            config.ssl = tls_context(settings.tls_certificate, settings.tls_key)
            tasks.append(asyncio.create_task(keep_renewed(config.ssl, settings.tls_certificate, settings.tls_key)))
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in tasks:
                task.cancel()
        exit_status = poll_triton()
        if exit_status is not None and not server.told_to_stop:
            raise LaunchError(f"Triton ended while serving (exit status {exit_status}); its log, above, says why")
    finally:
        await triton.close()


async def _check_ready(readiness: Readiness, triton_address: str) -> None:
    report = await readiness.check()
    if not report["triton"]:
        raise ServiceError(
            f"no Triton is ready at {triton_address}; start one, or give the address of its gRPC port (8001 by default)"
        )
    missing = [name for name, ready in report["models"].items() if not ready]
    if missing:
        raise ServiceError(f"Triton at {triton_address} has no ready model {missing[0]!r}; load the build there first")


class _Server(uvicorn.Server):
    """Turns readiness off at the signal, and does not raise the signal again when all is answered."""

    def __init__(self, config: uvicorn.Config, readiness: Readiness) -> None:
        super().__init__(config)
        self.told_to_stop = False
        self._readiness = readiness

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._readiness.turn_off("the server is stopping")
        self.force_exit = self.told_to_stop  # a second signal does not wait for answers
        self.told_to_stop = self.should_exit = True


async def _watch(
    server: _Server, readiness: Readiness, when_ready: Callable[[], None], poll_triton: Callable[[], int | None]
) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    when_ready()
    while poll_triton() is None:
        await asyncio.sleep(_POLL_S)
    readiness.turn_off("Triton has ended")
    server.should_exit = True
