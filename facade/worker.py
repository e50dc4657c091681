"""One of the facade's processes.

Run as ``python -m cortex_compile.facade.worker`` by ``supervisor.py``, with an ``Order`` as one line of JSON on stdin,
so that nothing of it stands on a command line, then a ``State`` on a line of its own whenever something changes. Tells
on stdout, a line of JSON each, which state it serves, every few seconds while it is well, and why it cannot. Ends when
stdin does: its supervisor is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from io import FileIO

from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.records import from_json

from .orders import Order, State

_PR_SET_PDEATHSIG = 1


def main() -> int:
    _wake_up_when_supervisor_dies()
    tell = _take_stdout()
    # All that takes time, while Triton is starting: the order comes when that is ready.
    from .client_counts import ClientCounts
    from .metrics import FacadeMetrics
    from .server import run_facade

    # Unbuffered: a thread that waits in a buffer when Python ends would have it abort.
    lines = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  # read until this process ends
    line = lines.readline()
    if not line:
        return 0
    order = from_json(Order, json.loads(line))
    counts = None
    if order.workers > 1 and order.settings.max_client_concurrency is not None:
        counts = ClientCounts(order.metrics_folder / "clients", order.number, order.workers)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run_facade(
            socket.socket(fileno=order.listener_fd),
            order.state,
            order.triton_address,
            order.settings,
            metrics=FacadeMetrics(order.metrics_folder, order.number),
            check_ready=order.check_ready,
            tell=lambda serial: tell({"serial": serial}),
            follow=lambda take: _follow(lines, take, order),
            counts=counts,
        )
    except CortexCompileError as error:
        tell({"failed": type(error).__name__, "because": str(error)})
        return error.exit_code
    return 0


def _wake_up_when_supervisor_dies() -> None:
    """One that is stopped would not see stdin end. To one that runs, the signal means nothing."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def _take_stdout() -> Callable[[dict[str, object]], None]:
    """What tells the supervisor, which alone is to have what is written there."""
    channel = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(channel, False)

    def tell(event: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # a supervisor that is stopped, or gone; the next event says the same
            os.write(channel, json.dumps(event).encode() + b"\n")

    return tell


def _follow(lines: FileIO, take: Callable[[State], None], order: Order) -> None:
    """Have each new state taken over, from a thread of its own: it must see the end even if nothing else moves."""

    def read() -> None:
        for line in lines:
            take(from_json(State, json.loads(line)))
        # Nobody is left to do it.
        shutil.rmtree(order.metrics_folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
