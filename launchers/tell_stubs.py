"""A program for Python 3.8 and later: tells of the models' processes in a container, as ``python3 -c`` of this file.

Every 0.3 s it writes a line of JSON: a list of [pid, parent's name, state, words of the command line, late_by_s] of
each process that is a stub. late_by_s are those of ``judge_work.Work``, from the folder of deadlines that the
environment names. The clock that they are by is that of the machine on which the container runs, which need not be the
launcher's. Nothing of cortex-compile is to be imported here: in the image there is none.
"""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

TELL_EVERY_S = 0.3


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


def _late_by_s(pid: int) -> list[float | None]:
    table = _read(Path(os.environ["CORTEX_COMPILE_DEADLINES"], str(pid)))
    now_s = time.monotonic()
    deadlines = struct.unpack(f"={len(table) // 8}d", table)
    # JSON has no infinity: one that may take as long as it likes is late by less than ever.
    return [max(now_s - deadline, -1e9) if deadline else None for deadline in deadlines]


def _stubs() -> list[list[object]]:
    found: list[list[object]] = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        folder = Path("/proc", str(pid))
        words = _read(folder / "cmdline").decode(errors="replace").rstrip("\0").split("\0")
        if Path(words[0]).name != "triton_python_backend_stub":
            continue  # others, and those that have ended: they have no command line any more
        fields = _read(folder / "stat").decode(errors="replace").rpartition(")")[2].split()
        if fields:
            parent = _read(Path("/proc", fields[1], "comm")).decode(errors="replace").strip()
            found.append([pid, parent, fields[0], words, _late_by_s(pid)])
    return found


def main() -> None:
    while True:
        print(json.dumps(_stubs()), flush=True)
        time.sleep(TELL_EVERY_S)


if __name__ == "__main__":
    main()
