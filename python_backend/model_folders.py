"""Which models and versions lie in the folders of ``multi_model_reloading``, as Cortex read them from a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .manifest import ModelsSpec

__all__ = ["SINGLE_MODEL_NAME", "ModelFolders", "ModelVersion"]

SINGLE_MODEL_NAME = "_cortex_default"
"""Cortex's own name for the one model of ``path``."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model. ``stamp`` changes when a file in ``folder`` comes, goes or is written to."""

    name: str
    version: int
    folder: Path
    stamp: tuple[int, int, int]

    @property
    def key(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def modified_s(self) -> int:
        """When its newest file was written, in seconds since 1970."""
        return self.stamp[0] // 10**9


class ModelFolders:
    """Looks at the disk anew at each call."""

    def __init__(self, project: Path, spec: ModelsSpec) -> None:
        self._folders = {name: project / path for name, path in spec.folders.items()}
        self._directory = None if spec.directory is None else project / spec.directory

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """The models that are there by name; none where they are the folders in a folder."""
        return tuple(self._folders)

    def names(self) -> tuple[str, ...]:
        if self._directory is None:
            return self.fixed_names
        return tuple(sorted(name for name in _subfolders(self._directory) if not name.startswith(".")))

    def __contains__(self, name: str) -> bool:
        if self._directory is None:
            return name in self._folders
        # The name may come from a request, and so may lead anywhere.
        is_plain = bool(name) and name == os.path.basename(name) and not name.startswith(".") and "\0" not in name
        return is_plain and (self._directory / name).is_dir()

    def versions_of(self, name: str) -> dict[int, ModelVersion]:
        """The versions of a model, highest first: folders with a number for a name, or the folder itself as 1."""
        folder = self._folders[name] if self._directory is None else self._directory / name
        numbered = {int(item): folder / item for item in _subfolders(folder) if item.isascii() and item.isdecimal()}
        found = {}
        for version, place in sorted((numbered or {1: folder}).items(), reverse=True):
            stamp = _stamp_of(place)
            if stamp is not None:
                found[version] = ModelVersion(name, version, place, stamp)
        return found


def _subfolders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []


def _stamp_of(folder: Path) -> tuple[int, int, int] | None:
    """The newest file's time, the number of files and their bytes; None where there is no file (yet, or any more)."""
    found = list(_files_below(folder))
    if not found:
        return None
    return max(item.st_mtime_ns for item in found), len(found), sum(item.st_size for item in found)


def _files_below(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.stat(os.path.join(parent, name))
            except OSError:  # it went away meanwhile
                continue
