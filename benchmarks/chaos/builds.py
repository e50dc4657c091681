"""The builds that are put to the test: one predictor, its graph in its process, as a Triton model, and not compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["PROJECT", "build_all"]

PROJECT = Path(__file__).with_name("project")
_FOLDER = Path(__file__).parents[2] / "build" / "chaos"
_OPTIONS = {
    "near": ("near", "cortex.yaml"),
    "next": ("near", "cortex.yaml", "--no-compile"),
    "far": ("far", "cortex.yaml"),
    "slow": ("slow", "slow.yaml", "--no-compile"),
    "crowded": ("crowded", "slow.yaml", "--no-compile"),
}


def build_all() -> dict[str, Path]:
    """Builds, compiled as a user does: of each API one by its name, and ``next`` of near; what has not changed is not
    compiled again."""
    builds = {}
    for name, (api, config, *options) in _OPTIONS.items():
        builds[name] = _FOLDER / name
        words = [str(PROJECT / config), "--name", api, "--output", str(builds[name]), *options]
        subprocess.run([sys.executable, "-m", "cortex_compile", *words], check=True, capture_output=True, text=True)
    return builds
