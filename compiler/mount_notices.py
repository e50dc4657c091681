"""Which files of a project name Cortex's ``/mnt/project``, and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cortex_compile.python_backend.mnt_project import MOUNT, names_mount

__all__ = ["mount_notices"]

_DATA = (".json", ".yaml", ".yml")
# Of a data file; what is larger is no configuration.
_MAXIMUM_BYTES = 1_000_000


def mount_notices(folder: Path, files: Iterable[str]) -> tuple[str, ...]:
    """``files`` are the project's."""
    if os.path.exists(MOUNT):
        return ()
    files = tuple(files)
    notices = []
    sources = ", ".join(_naming(folder, (name for name in files if name.endswith(".py"))))
    if sources:
        notices.append(f"{sources}: {MOUNT} stands for the project's own folder, wherever the build is.")
    data = ", ".join(_naming(folder, (name for name in files if name.endswith(_DATA))))
    if data:
        notices.append(f"{data}: {MOUNT} is known in Python sources, config and env only. Write a relative path there.")
    return tuple(notices)


def _naming(folder: Path, files: Iterable[str]) -> Iterator[str]:
    for name in files:
        try:
            if (folder / name).stat().st_size <= _MAXIMUM_BYTES:
                text = (folder / name).read_text(encoding="utf-8", errors="replace")
                if names_mount(text):
                    yield name
        except OSError:
            # Writing the build will tell of a file that cannot be read.
            continue
