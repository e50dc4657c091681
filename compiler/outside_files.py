"""What a predictor read from outside its project: weights in a cache, a tokenizer in another package."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["OutsideFiles", "stamp_of"]

_CODE = (".py", ".pyc", ".so")
# Of the machine, not of the model.
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
# In a folder with more files than this, those that were opened stand alone.
_MOST_COMPANIONS = 500


class OutsideFiles:
    """Hears of every file that Python opens, from now on until ``stop``. For a process of its own: hooks stay."""

    def __init__(self) -> None:
        self._opened: set[str] = set()
        self._listens = True
        sys.addaudithook(self._hear)

    def stop(self) -> None:
        self._listens = False

    def stamps(self, project: Path) -> dict[str, tuple[int, int]]:
        """The files still there, with size in bytes and time of change in ns, and those beside them.

        A library in another language opens its files unheard (safetensors does), mostly next to one that was heard of.
        """
        libraries = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib", "platlib"))
        mine = f"{os.path.realpath(project)}{os.sep}"
        found: dict[str, tuple[int, int]] = {}
        for path in sorted(self._opened):
            is_library = path.startswith(libraries) and (path.endswith(_CODE) or ".dist-info/" in path)
            if is_library or path.startswith((*_SYSTEM, mine)) or path.endswith(".pyc"):
                continue
            for each in _with_companions(Path(path)):
                stamp = stamp_of(str(each))
                if stamp is not None:
                    found[str(each)] = stamp
        return found

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._listens and event == "open" and isinstance(arguments[0], str | bytes):
            self._opened.add(os.path.realpath(os.fsdecode(arguments[0])))


def stamp_of(path: str) -> tuple[int, int] | None:
    """Size in bytes and time of change in ns of a plain file; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if os.path.isfile(path) else None


def _with_companions(path: Path) -> Iterator[Path]:
    yield path
    if path.suffix in _CODE or str(path.parent) == os.path.realpath(tempfile.gettempdir()):
        return
    try:
        beside = [entry for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return
    if len(beside) <= _MOST_COMPANIONS:
        yield from beside
