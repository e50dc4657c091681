"""``python -m benchmarks.soak``: mixed load on several builds for 20 minutes, every answer checked; then the fuzzers,
with 100,000 examples each. Ends with status 1 when an answer is wrong or missing, or when memory, handles, threads or
shared memory grow."""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.chaos.builds import build_all
from benchmarks.chaos.document import write_document
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.server import Server
from benchmarks.ownership.load import ask_all

from .growth import Lookout, growth_of
from .results import Soak, put_soak
from .subjects import build_examples, endless_questions

_ROOT = Path(__file__).parents[2]
_CLIENTS = 8
_MOST_GROWTH = 0.02
_FUZZ_EXAMPLES = "100000"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--no-fuzz", action="store_true", help="without the fuzzers")
    asked = parser.parse_args()
    soak = _soak(60 * asked.minutes)
    print(
        f"{soak.requests} requests in {soak.seconds:.0f} s: {soak.answered} answered, {soak.left} left by their client,"
    )
    print(f"{len(soak.wrong)} wrong, {len(soak.lost)} lost")
    for problem in [*soak.wrong, *soak.lost]:
        print(f"    {problem}")
    for what, growth in soak.growth.items():
        print(f"{what}: {100 * growth:+.2f} %")
    held = not soak.wrong and not soak.lost and all(growth < _MOST_GROWTH for growth in soak.growth.values())
    if asked.minutes >= 20:
        put_soak(soak)
        write_document(FAULTS)
    if not asked.no_fuzz:
        environment = {**os.environ, "FUZZ_EXAMPLES": _FUZZ_EXAMPLES}
        words = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", "tests/fuzz"]
        held = subprocess.run(words, cwd=_ROOT, env=environment).returncode == 0 and held
    return 0 if held else 1


def _soak(seconds: float) -> Soak:
    examples, ours = build_examples(), build_all()
    server = Server([*examples.values(), ours["near"], ours["far"]], ["--workers", "2"])
    try:
        questions = endless_questions(examples, seed=0)
        started = time.monotonic()
        in_time = itertools.takewhile(lambda _: time.monotonic() < started + seconds, questions)
        with Lookout(server, every_s=max(0.2, seconds / 400)) as lookout:
            found = uvloop.run(ask_all(server.url, in_time, _CLIENTS))
    finally:
        server.end()
    held = lookout.found
    growth = {
        "memory": growth_of(held, lambda each: each.memory),
        "handles": growth_of(held, lambda each: each.handles),
        "threads": growth_of(held, lambda each: each.threads),
        "shared memory": growth_of(held, lambda each: each.shared),
    }
    seconds = round(time.monotonic() - started, 1)
    some = held[:: max(1, len(held) // 40)]
    return Soak(found.asked, found.answered, found.left, found.wrong[:20], found.lost[:20], seconds, growth, some)


if __name__ == "__main__":
    sys.exit(main())
