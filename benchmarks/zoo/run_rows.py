"""Some rows: the command that a user types, time-limited, and then the build compared with eager on other inputs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from .rows import Row, write_project

# Of a command over all its rows; a step of one candidate has cortex-compile's own limit.
LIMIT_S = 600.0

State = Literal["compiled", "equal, not faster", "eager", "failed"]

# Decided over the whole predictor, so over all rows in it.
_TOGETHER = "the predictor"


@dataclass(frozen=True)
class Result:
    """What became of a row's main module.

    ``compiled``: exported, proven equal, faster, exchanged, and called compiled on inputs that no sample has.
    ``equal, not faster``: exported and proven equal; this tiny, it does not gain. ``eager``: for ``reason``.
    ``failed``: there is no build, or a result was not eager's.
    """

    state: State
    reason: str
    parts: tuple[str, ...]
    """Modules inside it, or beside it, that were compiled."""
    speedup: float | None
    difference: float
    excess: float
    compiled_calls: int
    eager_calls: dict[str, int]
    seconds: float


def run_rows(rows: Sequence[Row], log: Path) -> dict[str, Result]:
    """The result of each row; of several, those that only a run by itself can tell are left out."""
    started = time.monotonic()
    names = [row.name for row in rows]
    with TemporaryDirectory(prefix="zoo-") as name, log.open("w") as output:
        folder, build, found = Path(name) / "project", Path(name) / "build", Path(name) / "found.json"
        folder.mkdir()
        write_project(rows, folder)
        compiling = ["-m", "cortex_compile", str(folder / "predictor.py"), "--output", str(build), "--fresh"]
        comparing = ["-m", "benchmarks.zoo.compare", str(folder), str(build), str(found), *names]
        for step, words in (("compile", compiling), ("compare", comparing)):
            problem = _run([sys.executable, *words], output, LIMIT_S)
            if problem is not None and len(rows) > 1:
                return {}
            if problem is not None:
                seconds = round(time.monotonic() - started, 1)
                return {names[0]: Result("failed", f"{step}: {problem}", (), None, 0.0, 0.0, 0, {}, seconds)}
        report, comparison = json.loads((build / "report.json").read_text()), json.loads(found.read_text())
        seconds = round((time.monotonic() - started) / len(rows), 1)
        results = {row.name: _judge(row, report, comparison, seconds) for row in rows}
    alone = len(rows) == 1
    return {name: result for name, result in results.items() if alone or not result.reason.startswith(_TOGETHER)}


def _run(words: list[str], output: Any, timeout_s: float) -> str | None:
    """Why it did not end well, or None. Ended politely, cortex-compile ends its own children."""
    child = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        code = child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.terminate()
        child.wait()
        return f"it took longer than {timeout_s:g} s"
    return f"exit code {code}" if code else None


def _judge(row: Row, report: dict[str, Any], comparison: dict[str, Any], seconds: float) -> Result:
    modules = {module["path"]: module for module in report["modules"]}
    main = modules.get(row.module)
    mine = row.module if row.architecture is not None else ""
    parts = tuple(
        path
        for path, module in modules.items()
        if module["engine"] != "eager" and path != row.module and path.startswith(mine)
    )
    found = comparison["rows"][row.name]
    state: State
    reason = ""
    if found["wrong"] is not None:
        state, reason = "failed", found["wrong"]
    elif main is None:
        state, reason = "eager", f"no call of {row.module} was seen, only of {', '.join(modules)}"
    elif main["engine"] == "eager":
        measured = [attempt["refused_at"] in (None, "measure") for attempt in _attempts(main)]
        state = "equal, not faster" if measured and all(measured) else "eager"
        reason = main["decision"].removeprefix("stays eager: ")
    elif comparison["compiled"].get(row.module):
        state, reason = "compiled", main["decision"].partition("; ")[2]
    else:
        state, reason = "eager", f"no call on other inputs ran compiled ({comparison['states'].get(row.module)})"
    return Result(
        state,
        reason,
        parts,
        _speedup(main) if main is not None else None,
        found["difference"],
        found["excess"],
        comparison["compiled"].get(row.module, 0),
        comparison["eager"].get(row.module, {}),
        seconds,
    )


def _attempts(module: dict[str, Any]) -> list[dict[str, Any]]:
    return [attempt for signature in module["signatures"] for attempt in signature["attempts"]]


def _speedup(module: dict[str, Any]) -> float | None:
    speedups = [measured["speedup"] for attempt in _attempts(module) for measured in attempt["measurements"]]
    return round(math.prod(speedups) ** (1 / len(speedups)), 2) if speedups else None
