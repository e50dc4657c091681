"""benchmarks/results/zoo.json: a result for each row, written as soon as it is there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .run_rows import Result

FILE = Path(__file__).parents[1] / "results" / "zoo.json"
LOGS = Path("build") / "zoo"

_claims: dict[str, Any] = {}


def read_results() -> dict[str, Result]:
    if not FILE.exists():
        return {}
    return {name: Result(**{**row, "parts": tuple(row["parts"])}) for name, row in json.loads(FILE.read_text()).items()}


def put_result(name: str, result: Result) -> None:
    with _locked():
        results = {**read_results(), name: result}
        text = json.dumps({key: asdict(results[key]) for key in sorted(results)}, indent=1)
        temporary = FILE.with_suffix(f".{os.getpid()}")
        temporary.write_text(text + "\n")
        temporary.rename(FILE)


def claim_row(name: str) -> bool:
    """False if another process is at it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    file = (LOGS / f"{name}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _claims[name] = file
    return True


def release_row(name: str) -> None:
    _claims.pop(name).close()


@contextmanager
def _locked() -> Iterator[None]:
    with (LOGS / "results.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
