"""Starting and ending the process that stands between the launcher and tritonserver (``keep_server.py``)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from cortex_compile.launchers.keep_server import Order

# What is left of the time for killing and cleaning, when the server did not end by itself.
_KILL_S = 2.0
_LOOK_EVERY_S = 0.02


def start_keeper(order: Order) -> tuple[subprocess.Popen[str], int | None]:
    """The keeper, and the process id of the server that it started; None when it could not."""
    command = [sys.executable, "-P", "-m", "cortex_compile.launchers.keep_server"]
    with open(order.log_file, "a") as log:
        # In a session of its own: Ctrl-C in a terminal is for the launcher, which then stops the server in order.
        keeper = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        with keeper.stdin as order_line:
            order_line.write(order.to_line())
        with keeper.stdout as answer:
            pid = answer.readline().strip()
    except BaseException:
        keeper.terminate()
        raise
    return keeper, int(pid) if pid else None


def end_keeper(keeper: subprocess.Popen[str], timeout_s: float, is_hopeless: Callable[[], bool]) -> None:
    """End it and its server, which gets ``timeout_s``.

    ``is_hopeless``: the server waits for processes that have died, as Triton 2.51 does until its time is over.
    """
    keeper.terminate()
    deadline_s = time.monotonic() + max(0.0, timeout_s - _KILL_S)
    while keeper.poll() is None and time.monotonic() < deadline_s and not is_hopeless():
        time.sleep(_LOOK_EVERY_S)
    if keeper.poll() is None:
        keeper.terminate()  # the second time it does not wait for the server
        try:
            keeper.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            keeper.kill()  # and the server gets its death signal
            keeper.wait()
