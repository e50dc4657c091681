"""The right answers: what the plain predictor says, in a process of its own."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Plain:
    """``load_s`` is what the predictor alone takes to import and to be made, by a Python that has just started."""

    answers: list[Any]
    load_s: float


@functools.cache
def plain_answers(name: str) -> Plain:
    command = [sys.executable, "-m", __name__, name]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{name}: the predictor itself fails after {time.perf_counter() - started:.1f} s: {done.stderr}"
        )
    return Plain(**json.loads(done.stdout))


def judge(workload: Workload, read: Callable[[bytes], Any], expected: list[Any]) -> Callable[[int, bytes], str | None]:
    """What compares an answer with the right one. Bytes that were found right once are not read again."""
    right: set[tuple[int, bytes]] = set()

    def compare(number: int, body: bytes) -> str | None:
        if (number, body) in right:
            return None
        try:
            found = read(body)
        except (ValueError, LookupError, TypeError) as error:
            return f"unreadable answer ({error})"
        if not is_same(expected[number], found, workload.tolerance):
            return "wrong answer"
        right.add((number, body))
        return None

    return compare


def is_same(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(is_same(value, found[key], tolerance) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(is_same(mine, theirs, tolerance) for mine, theirs in zip(expected, found, strict=True))
        )
    if isinstance(expected, float):
        return isinstance(found, int | float) and math.isclose(expected, found, abs_tol=tolerance, rel_tol=0)
    return bool(expected == found)


def _answer_plainly(workload: Workload) -> dict[str, Any]:
    started = time.perf_counter()
    sys.path.insert(0, str(workload.path))
    from model import Model  # type: ignore[import-not-found]  # the workload's own

    model = Model()
    load_s = time.perf_counter() - started

    def answer(payload: Any) -> Any:
        found = model.answer_one(payload) if workload.waits else model.answer([payload])[0]
        return asyncio.run(found) if inspect.iscoroutine(found) else found

    return {"answers": [answer(payload) for payload in workload.payloads()], "load_s": load_s}


if __name__ == "__main__":
    # Only the answer goes to stdout.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        json.dump(_answer_plainly(WORKLOADS[sys.argv[1]]), answers)
