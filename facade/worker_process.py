"""One facade worker as seen by the process that starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from cortex_compile.python_backend.records import to_json

from .orders import Order, State

__all__ = ["WorkerProcess"]

_STARTING = -1


class WorkerProcess:
    """Starts at once and imports what it needs; serves when it has its order. Nothing here waits for it.

    Args:
        listener_fd: the listening socket that it accepts from.
    """

    def __init__(self, listener_fd: int) -> None:
        command = [sys.executable, "-P", "-m", "cortex_compile.facade.worker"]
        # In a session of its own: Ctrl-C in a terminal is for the launcher, which then lets it answer what it is at.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(listener_fd,),
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to = self._process.stdin.fileno()
        self.events = self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self.events, False)
        self._unsent = b""
        self._unread = b""
        self._given = _STARTING
        self.serial = _STARTING
        """That of the last state which it has taken over."""
        self.heard_at = time.monotonic()
        self.serves_since: float | None = None
        self.failure: tuple[str, str] | None = None
        """The class and the words of the error that ended it."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, order: Order) -> None:
        self._given = order.state.serial
        self._send(order)

    def give(self, state: State) -> None:
        """Hand over a state that is newer than the last one."""
        # One that does not read gets the newest state when it reads again, and not all between.
        if state.serial > self._given and not self._unsent:
            self._given = state.serial
            self._send(state)
        self._flush()

    def hear(self) -> None:
        """Read what it has told since."""
        try:
            while told := os.read(self.events, 65536):
                self._unread += told
        except BlockingIOError:
            pass
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._note(json.loads(line))

    def _note(self, event: dict[str, object]) -> None:
        self.heard_at = time.monotonic()
        if "failed" in event:
            self.failure = (str(event["failed"]), str(event["because"]))
        elif isinstance(event["serial"], int):
            self.serial = event["serial"]
            self.serves_since = self.serves_since or self.heard_at

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """It ends when it has answered what it is at; told a second time, at once."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, if it has not ended, and release what it held here."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _send(self, message: Order | State) -> None:
        self._unsent += json.dumps(to_json(message)).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._to, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it has ended, as poll() tells
            self._unsent = b""
