"""Where things are kept that can be made or fetched again: the embedded server, compiled candidates, crash reports."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$CORTEX_COMPILE_CACHE, or ``cortex-compile`` in the user's cache folder."""
    if own := os.environ.get("CORTEX_COMPILE_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "cortex-compile"
