"""``python -m benchmarks.ownership``: 200,000 requests, each with an answer of its own, among delays, errors and
clients that leave. Ends with status 1 when one got another's answer, or none."""

from __future__ import annotations

import argparse
import sys
import time

import uvloop

from benchmarks.chaos.builds import build_all
from benchmarks.chaos.document import write_document
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.server import Server

from .load import ask_all
from .questions import questions
from .results import Proof, put_proof

CLIENTS = 64
_ALL = 200_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ownership", description=__doc__)
    parser.add_argument("--requests", type=int, default=_ALL)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    builds = build_all()
    server = Server([builds["near"], builds["far"]])
    started = time.monotonic()
    try:
        found = uvloop.run(ask_all(server.url, questions(asked.requests, ["near", "far"], asked.seed), CLIENTS))
    finally:
        server.end()
    seconds = time.monotonic() - started
    print(
        f"{found.asked} requests of {CLIENTS} clients in {seconds:.0f} s: {found.answered} answered, {found.left} left"
    )
    print(f"by their client, {len(found.wrong)} answered with another's, {len(found.lost)} lost")
    for problem in [*found.wrong, *found.lost][:20]:
        print(f"    {problem}")
    right = not found.wrong and not found.lost and found.asked == asked.requests
    if asked.requests >= _ALL:
        counts = (found.answered, found.left, len(found.wrong), len(found.lost))
        put_proof(Proof(asked.requests, CLIENTS, *counts, round(seconds)))
        write_document(FAULTS)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
