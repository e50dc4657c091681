"""Taking a secret from a running process's command line, which every user of the machine may read.

tritonserver takes the key of its restricted calls as an argument alone, neither from a file nor from the environment.
It copies its arguments before it logs anything; from then on what /proc shows of them, the process's own memory, is not
read again.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["has_read_arguments", "hide_secret"]

# The beginning of a line as tritonserver writes it with --log-format=ISO8601: libraries may write others before.
_LOGGED = re.compile(rb"^\d{4}-\d\d-\d\d[T ]\d\d:", re.MULTILINE)
_FIRST_BYTES = 64 * 1024


def has_read_arguments(log_file: Path, begin: int) -> bool:
    """Whether the server that writes to this log, from the byte ``begin`` on, has copied its arguments."""
    try:
        with log_file.open("rb") as log:
            log.seek(begin)
            return _LOGGED.search(log.read(_FIRST_BYTES)) is not None
    except OSError:
        return False


def hide_secret(pid: int, secret: str) -> bool:
    """Write ``*`` over a secret in a child's command line; False where the system does not let its parent do so."""
    try:
        # After the name in parentheses, which may hold spaces; proc(5) counts from 1, and the name is the second.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[48 - 3]), int(fields[49 - 3])
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            arguments = memory.read(end - start)
            place = arguments.find(secret.encode())
            while place >= 0:
                memory.seek(start + place)
                memory.write(b"*" * len(secret))
                place = arguments.find(secret.encode(), place + len(secret))
    except (OSError, ValueError, OverflowError):
        return False
    return secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
