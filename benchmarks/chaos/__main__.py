"""``python -m benchmarks.chaos``: break a running server in every way that we know, under load, and tell what became of
the requests. Ends with status 1 when one was answered wrongly or not at all, or when a limit is broken."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback

from .builds import build_all
from .container import ContainerStage, make_image
from .document import write_document
from .faults import FAULTS, IN_CONTAINERS
from .results import put_row
from .stage import Fault, Row, Skipped, Stage

_COLUMNS = "{:37} {:>8} {:>7} {:>6} {:>5} {:>5} {:>4} {:>8}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(FAULTS), metavar="NAME", help="play this fault")
    parser.add_argument("--quick", action="store_true", help="shorter overload and shorter stops")
    parser.add_argument("--container", action="store_true", help="make an image for Triton in a container, with Docker")
    parser.add_argument("--list", action="store_true", help="only name the faults")
    asked = parser.parse_args()
    names = asked.only or [name for name in FAULTS if asked.container or name not in IN_CONTAINERS]
    if not asked.container and (out := IN_CONTAINERS & set(names)):
        parser.error(f"{min(out)!r} wants --container")
    if asked.list:
        print("\n".join(f"{name:37} {FAULTS[name].breaks}" for name in names))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    builds = build_all()
    stage = Stage(builds, asked.quick)
    contained = ContainerStage(builds, asked.quick, make_image(builds["near"])) if asked.container else stage
    print(_COLUMNS.format("fault", "requests", "right", "error", "wrong", "lost", "cut", "healthy"), flush=True)
    rows = []
    try:
        for name in names:
            rows.append(_play(contained if name in IN_CONTAINERS else stage, FAULTS[name]))
            put_row(rows[-1])
    finally:
        stage.end_shared_server()
        contained.end_shared_server()
        write_document(FAULTS)
    broken = [row.name for row in rows if not row.held]
    print(f"{len(rows) - len(broken)} of {len(rows)} hold" + (f"; broken: {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def _play(stage: Stage, fault: Fault) -> Row:
    row = stage.row = Row(fault.name)
    started = time.monotonic()
    try:
        fault.play(stage)
    except Skipped as reason:
        row.skipped = str(reason)
    except Exception as error:
        traceback.print_exc()
        stage.check("it can be played", f"{type(error).__name__}: {error}", False)
    row.seconds = round(time.monotonic() - started, 1)
    after = "" if row.healthy_s is None else f"{row.healthy_s:.2f} s"
    if row.skipped:
        print(f"{fault.name:37} skipped: {row.skipped}", flush=True)
        return row
    print(_COLUMNS.format(fault.name, row.requests, row.right, row.errors, row.wrong, row.lost, row.cut, after))
    for check in row.checks:
        if not check.holds:
            print(f"    broken: {check.what}: {check.found}")
    for example in row.examples:
        print(f"    {example[:160]}")
    sys.stdout.flush()
    if not row.held:
        stage.end_shared_server()  # what it left behind is not the next one's
    return row


if __name__ == "__main__":
    sys.exit(main())
