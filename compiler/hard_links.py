"""A second name for the same bytes on disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["link_or_copy"]


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """``target``, which must not exist, as a hard link; a copy on another file system, or on one without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
