"""Which files are the user's project: what Cortex would have uploaded, less what this machine made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pathspec

from cortex_compile.errors import ProjectError

__all__ = ["project_files"]

_IGNORE_FILE = ".cortexignore"
_COMPILED_PYTHON = (".pyc", ".pyo", ".pyd")


def project_files(folder: Path) -> tuple[str, ...]:
    """The project's files by path relative to its folder, sorted.

    Left out: dot-files and dot-folders, compiled Python, ``cortex.yaml``, what ``.cortexignore`` names (in
    gitignore's language), virtual environments and earlier builds. Links are followed, so a build is self-contained.

    Raises:
        ProjectError: ``.cortexignore`` cannot be read, or a folder cannot be listed.
    """
    ignored = _read_ignore_file(folder / _IGNORE_FILE)
    found = _walk(folder, "", (os.path.realpath(folder),))
    return tuple(sorted(name for name in found if name != "cortex.yaml" and not ignored.match_file(name)))


def _walk(folder: Path, prefix: str, parents: tuple[str, ...]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ProjectError(f"{folder}: cannot be listed ({error.strerror}). Name it in {_IGNORE_FILE}.") from error
    for entry in entries:
        name = prefix + entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = os.path.realpath(entry.path)
            # A link to a folder above would go round for ever.
            if real not in parents and not _is_left_out(Path(entry.path)):
                yield from _walk(Path(entry.path), f"{name}/", (*parents, real))
        elif entry.is_file() and not entry.name.endswith(_COMPILED_PYTHON):
            yield name


def _is_left_out(folder: Path) -> bool:
    is_virtual_environment = (folder / "pyvenv.cfg").is_file()
    is_build = (folder / "manifest.json").is_file() and (folder / "model_repository").is_dir()
    return folder.name == "__pycache__" or is_virtual_environment or is_build


def _read_ignore_file(path: Path) -> pathspec.GitIgnoreSpec:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: cannot be read ({error}).") from error
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise ProjectError(f"{path}: holds a line that is not a pattern ({error}).") from error
