"""The files of a build as they lie on disk: each that it shipped is what it was, and nothing was put beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import BuildError

__all__ = ["check_files", "sha256_of"]

# Python writes there what it compiled.
_WRITTEN_BY_PYTHON = "__pycache__"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(repository: Path, name: str, files: Mapping[str, str]) -> None:
    """Compare a model repository with the sha256 of its ``files``, by path relative to it.

    Below ``NAME/1/project/``, the predictor's working folder, other files may have come since.

    Raises:
        BuildError: a file is missing, differs, leads out of the repository by a link, or is none of the build's; named.
    """
    root = os.path.realpath(repository)
    if os.path.islink(repository):
        raise BuildError(f"{repository}: is a link. A build holds its files itself; copy it again.")
    for file, expected in files.items():
        path = repository / file
        if not path.is_file():
            raise BuildError(f"{path}: is missing. The build is not whole; copy it again or compile again.")
        if not _is_below(path, root):
            raise BuildError(
                f"{path}: a link leads out of the build. Copy the build again, with what its links lead to."
            )
        if sha256_of(path) != expected:
            raise BuildError(f"{path}: was changed after compiling (sha256 differs). Copy it again or compile again.")
    known = {*files, f"{name}/1/manifest.json"}
    project = f"{name}/1/project/"
    for path in _entries(repository):
        if path.is_symlink() and not _is_below(path, root):
            raise BuildError(f"{path}: a link leads out of the build. Remove it, or copy what it leads to.")
        file = path.relative_to(repository).as_posix()
        if file not in known and not file.startswith(project) and (path.is_symlink() or not path.is_dir()):
            raise BuildError(f"{path}: is no file of the build, and would be served. Remove it or compile again.")


def _entries(repository: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(repository):
        if _WRITTEN_BY_PYTHON in folders and not os.path.islink(os.path.join(folder, _WRITTEN_BY_PYTHON)):
            folders.remove(_WRITTEN_BY_PYTHON)
        for name in (*folders, *names):
            yield Path(folder, name)


def _is_below(path: Path, root: str) -> bool:
    return os.path.commonpath([root, os.path.realpath(path)]) == root
