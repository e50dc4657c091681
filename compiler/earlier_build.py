"""A build that an earlier compile left, found again when nothing that it rests on has changed since.

What cannot be seen from here (a server that hands out weights) may change unnoticed; the runtime compares the weights
at each start, so such a build answers eager and says so, and ``--fresh`` compiles it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cortex_compile.cache_folder import cache_folder
from cortex_compile.compiler.artifacts import Project, Report
from cortex_compile.compiler.candidate_cache import our_sources
from cortex_compile.compiler.outside_files import stamp_of
from cortex_compile.compiler.project_files import project_files
from cortex_compile.compiler.report import read_report
from cortex_compile.errors import BuildError
from cortex_compile.python_backend.manifest import check_build, sha256_of
from cortex_compile.python_backend.records import to_json

__all__ = ["find_earlier_build", "inputs_sha256", "keep_remembering", "remember_build"]

# Differ from one terminal to the next.
_OF_THE_TERMINAL = {"PWD", "OLDPWD", "SHLVL", "_", "TERM", "COLUMNS", "LINES", "COLORTERM", "NO_COLOR", "PS1"}
# Of NVIDIA's driver: what each GPU is.
_GPUS = Path("/proc/driver/nvidia/gpus")
_OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR"}


def find_earlier_build(project: Project, output: Path, only: str | None) -> Report | None:
    """The report of the build at ``output`` where compiling it again would find the same; else None."""
    try:
        kept = json.loads(_place(output).read_text())
        if kept["manifest_sha256"] != sha256_of(output / "manifest.json"):
            return None
        if any(stamp_of(path) != tuple(stamp) for path, stamp in kept["outside"].items()):
            return None
        if kept["inputs_sha256"] != inputs_sha256(project, only):
            return None
        check_build(output)
        return read_report(output)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BuildError):
        return None  # never compiled, changed by hand, or of another release


def remember_build(output: Path, inputs: str, outside: dict[str, tuple[int, int]]) -> None:
    """Keep what the build at ``output`` rests on. A cache that cannot be written costs time, nothing else.

    Args:
        inputs: ``inputs_sha256`` of before the compile: what is edited while it runs is not in the build.
        outside: files outside the project, with size in bytes and time of change in ns.
    """
    kept = {
        "manifest_sha256": sha256_of(output / "manifest.json"),
        "inputs_sha256": inputs,
        "outside": outside,
    }
    place = _place(output)
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(kept))
        temporary.rename(place)


def keep_remembering(output: Path, manifest_sha256: str) -> None:
    """The build at ``output``, whose manifest was this one, was tuned: it rests on the same as before."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(_place(output).read_text())
        if kept["manifest_sha256"] == manifest_sha256:
            remember_build(output, kept["inputs_sha256"], kept["outside"])


def _place(output: Path) -> Path:
    return cache_folder() / "builds" / f"{hashlib.sha256(str(output.absolute()).encode()).hexdigest()}.json"


def inputs_sha256(project: Project, only: str | None) -> str:
    """Over the project's files, its settings and samples, the installed packages, the environment and the machine."""
    digest = hashlib.sha256()
    for part in _inputs(project, only):
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _inputs(project: Project, only: str | None) -> Iterator[Any]:
    yield from our_sources()
    yield from (json.dumps(to_json(project), sort_keys=True), only, sys.version, sys.prefix, platform.machine())
    yield sorted(os.sched_getaffinity(0))
    yield [file.read_text() for file in sorted(_GPUS.glob("*/information"))]
    yield sorted(item for item in os.environ.items() if item[0] not in _OF_THE_TERMINAL | _OF_MAKE)
    for name in project_files(project.folder):
        yield from (name, sha256_of(project.folder / name))
    for place in sys.path:
        if os.path.isdir(place):  # each installed package and its version
            yield from sorted(entry for entry in os.listdir(place) if entry.endswith(".dist-info"))
