"""``python -m benchmarks.zoo``: compile every row of the zoo as a user would, and write docs/zoo.md of what came out.

Rows that have a result are not run again: stopped, it goes on where it was. Two of it may run beside each other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection
from itertools import islice

from .document import write_document
from .results import LOGS, claim_row, put_result, read_results, release_row
from .rows import Row, read_rows
from .run_rows import run_rows

# Architectures that become one predictor.
TOGETHER = 5


def main() -> None:
    rows = read_rows()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(rows), metavar="NAME", help="run this row again")
    parser.add_argument("--again", action="store_true", help="run every row again")
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="S", help="begin nothing after S s")
    asked = parser.parse_args()
    started = time.monotonic()
    fixed = asked.only or (list(rows) if asked.again else None)
    left = list(fixed or rows)
    alone: set[str] = set()
    while left and time.monotonic() - started < asked.stop_after:
        if fixed is None:
            left = [name for name in left if name not in read_results()]
        names = _claim(left, rows, alone)
        if not names:
            break  # another process is at what is left
        try:
            results = run_rows([rows[name] for name in names], LOGS / f"{names[0]}.log")
        finally:
            for name in names:
                release_row(name)
        for name, result in results.items():
            put_result(name, result)
            print(f"{name}: {result.state} {result.speedup or ''} {result.reason} ({result.seconds:.0f} s)", flush=True)
        alone |= set(names) - set(results)
        left = [name for name in left if name not in results]
    write_document(rows, read_results())


def _claim(left: list[str], rows: dict[str, Row], alone: Collection[str]) -> list[str]:
    """What to run next: one predictor written by hand, or some architectures; ``alone`` are better by themselves."""
    first = next(islice((name for name in left if claim_row(name)), 1), None)
    if first is None:
        return []
    if first in alone or rows[first].architecture is None:
        return [first]
    companions = (name for name in left if rows[name].architecture is not None and name not in alone)
    return [first, *islice((name for name in companions if name != first and claim_row(name)), TOGETHER - 1)]


if __name__ == "__main__":
    main()
