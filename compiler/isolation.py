"""Run a child process that reports in lines of JSON, and end it when one step takes too long."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile import errors
from cortex_compile.compiler.undisturbed import undisturbed
from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.records import to_json

# A user's model may take its time to load; a step that says nothing for this long is hanging.
LOAD_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Ended:
    """How a child ended: well, or by a signal, exit code or time-out told in ``reason``."""

    reason: str | None


def run_child(
    module: str, request: Any, request_file: Path, step_timeout_s: float
) -> Generator[dict[str, Any] | Ended, None, None]:
    """Start ``python -m MODULE REQUEST_FILE PIPE``, yield what it tells, and at last how it ended.

    To be closed (``contextlib.closing``): the child ends with it, whatever ends the reading.

    The child's own output goes to our stderr, so that prints of the predictor are seen and never mixed with results.

    Raises:
        CortexCompileError: one that the child raised, as the class that it was there.
    """
    request_file.write_text(json.dumps(to_json(request)))
    killed_before = _killed_for_memory()
    receiving, sending = os.pipe()
    timed_out = True
    child: subprocess.Popen[bytes] | None = None
    try:
        with os.fdopen(receiving, "rb", buffering=0) as pipe:
            with undisturbed():
                child = subprocess.Popen(
                    [sys.executable, "-m", module, str(request_file), str(sending)],
                    pass_fds=(sending,),
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    start_new_session=True,
                )
                os.close(sending)
            timed_out = yield from _read_lines(pipe, step_timeout_s)
    finally:
        if child is not None:
            with undisturbed():
                _end(child, patience_s=0.0 if timed_out else 10.0)
    assert child is not None
    if timed_out:
        yield Ended(f"it took longer than {step_timeout_s:g} s")
    else:
        yield Ended(_how_it_ended(child.returncode, _killed_for_memory() > killed_before))


def _read_lines(pipe: Any, step_timeout_s: float) -> Generator[dict[str, Any], None, bool]:
    """Yield each line; return True when the child said nothing for too long, False when it closed its pipe."""
    timeout_s = LOAD_TIMEOUT_S
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        deadline = time.monotonic() + timeout_s
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return True
            data = pipe.read(1 << 16)
            if not data:
                return False
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "error" in message:
                    raise _rebuild(message["error"])
                timeout_s = step_timeout_s if "candidate_step" in message else LOAD_TIMEOUT_S
                yield message
            deadline = time.monotonic() + timeout_s


def _rebuild(error: dict[str, str]) -> CortexCompileError:
    kind = getattr(errors, error["type"], CortexCompileError)
    rebuilt: CortexCompileError = kind(error["message"])
    return rebuilt


def _killed_for_memory() -> int:
    """How many processes of this machine were killed since it runs, because memory ran out."""
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _end(child: subprocess.Popen[bytes], patience_s: float) -> None:
    """The child has said all it had to say, or was given up: it and whatever it started end now."""
    try:
        child.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _how_it_ended(code: int, killed_for_memory: bool) -> str | None:
    if code == 0:
        return None
    if code == -signal.SIGKILL:
        why = "since memory ran out" if killed_for_memory else "as a system does when memory runs out"
        return f"its process was killed (SIGKILL), {why}"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
