"""``python -m benchmarks.gpu``: what this machine's GPU makes of the examples; writes docs/gpu.md.

Uses what the machine has and fetches nothing. Ends at once, with 1, where there is no GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from .document import write_document
from .machine import look_at_machine, why_no_gpu
from .results import Results, write_results


def main() -> int:
    reason = why_no_gpu()
    if reason is not None:
        print(f"gpu_check: nothing was run: {reason}.", file=sys.stderr)
        return 1
    machine = look_at_machine()
    missing = dict(machine.missing)
    for what, why in missing.items():
        print(f"gpu_check: without {what}: {why}", file=sys.stderr)
    from .measure import measure_modules
    from .serve import check_examples, check_schedule

    engines = tuple(name for name in ("onnxruntime", "tensorrt") if name not in missing)
    modules = _run("modules", lambda: measure_modules(engines), missing)
    serving = "serve" not in missing
    examples = _run("examples", check_examples, missing) if serving else []
    schedule = _run("schedule", check_schedule, missing) if serving else []
    date = datetime.now(UTC).date().isoformat()
    results = Results(date, machine.gpus, machine.versions, missing, tuple(modules), tuple(examples), tuple(schedule))
    write_results(results)
    write_document(results)
    return 0


def _run(step: str, rows: Callable[[], Iterator[Any]], missing: dict[str, str]) -> list[Any]:
    """The rows of a step; one that fails is a finding too, and the others are run all the same."""
    found = []
    try:
        for row in rows():
            print(row, flush=True)
            found.append(row)
    except Exception as error:
        missing[step] = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"gpu_check: {step} {missing[step]}", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
