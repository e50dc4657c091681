"""``multi_model_reloading`` of cortex.yaml: where the models are that ``python_client`` hands out."""

from __future__ import annotations

import os
from pathlib import Path

from cortex_compile.compiler.cortex_yaml import LocatedApi
from cortex_compile.errors import ProjectError
from cortex_compile.python_backend.manifest import ModelsSpec
from cortex_compile.python_backend.model_folders import SINGLE_MODEL_NAME

__all__ = ["read_models"]

_KEYS = ("predictor", "multi_model_reloading")


def read_models(located: LocatedApi, folder: Path, files: tuple[str, ...]) -> ModelsSpec | None:
    """``files`` are the project's. A folder among them goes into the build; an absolute path is read where it is.

    Raises:
        ProjectError: a path is in a bucket, outside of the project, left out of it, or not a folder.
    """
    written = located.api.predictor.multi_model_reloading
    if written is None:
        return None
    if written.dir is not None:
        directory = _check_folder(located, folder, files, written.dir, "dir")
        return ModelsSpec(directory=directory, cache_size=written.cache_size)
    if written.path is not None:
        folders = {SINGLE_MODEL_NAME: _check_folder(located, folder, files, written.path, "path")}
    else:
        folders = {
            entry.name: _check_folder(located, folder, files, entry.path, "paths", index, "path")
            for index, entry in enumerate(written.paths or ())
        }
    return ModelsSpec(folders=folders, cache_size=written.cache_size)


def _check_folder(located: LocatedApi, folder: Path, files: tuple[str, ...], written: str, *keys: str | int) -> str:
    place = located.at(*_KEYS, *keys)
    if "://" in written:
        raise ProjectError(
            f"{place}: found {written!r}, expected a folder of this machine: copy the bucket's files into the project."
        )
    if os.path.isabs(written):
        if not Path(written).is_dir():
            raise ProjectError(f"{place}: found {written!r}, expected a folder; there is none.")
        return os.path.normpath(written)
    path = os.path.normpath(written)
    if path in (".", "..") or path.startswith("../") or not (folder / path).is_dir():
        raise ProjectError(
            f"{place}: found {written!r}, expected a folder inside {folder}, or an absolute path, which is used where"
            " it is and does not go into the build."
        )
    if not any(name.startswith(f"{path}/") for name in files):
        raise ProjectError(f"{place}: {written!r} has no file in it that belongs to the project (see .cortexignore).")
    return path
