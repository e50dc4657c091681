"""Cortex's ``python_client``: models that load_model makes of folders, by name and version, reloaded as they change."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .manifest import ModelsSpec
from .model_folders import SINGLE_MODEL_NAME, ModelFolders, ModelVersion

__all__ = ["PythonClient", "UserRuntimeException"]

_LOGGER = logging.getLogger("cortex_compile.models")

# How old what is known of a model's folder may be.
_LOOK_AGAIN_S = 1.0


class UserRuntimeException(RuntimeError):
    """Cortex's name for a call that asks for what is not there."""


class PythonClient:
    """What ``__init__`` gets as ``python_client``.

    A model is loaded when it is first asked for, by the request that asks. When its files change or a newer version
    lies beside it, one request loads that; meanwhile the others go on with what is loaded, and so do all if it fails.
    """

    def __init__(self, project: Path, spec: ModelsSpec) -> None:
        self.models: OrderedDict[str, Any] = OrderedDict()
        """What is loaded, by ``NAME/VERSION``, the least recently used first."""
        self.loads = 0
        """How many times a model was loaded."""
        self._folders = ModelFolders(project, spec)
        self._cache_size = spec.cache_size
        self._load_model: Callable[[str], Any] | None = None
        self._state = threading.Lock()  # of everything below and of models
        self._loading: dict[str, threading.RLock] = {}
        self._stamps: dict[str, tuple[int, int, int]] = {}
        self._failed: dict[str, tuple[int, int, int]] = {}
        self._asked_for: set[str] = set()  # by their version, and so not only while they are the latest
        self._known: dict[str, tuple[float, dict[int, ModelVersion]]] = {}

    def set_load_method(self, load_model: Callable[[str], Any]) -> None:
        self._load_model = load_model

    def get_model(self, model_name: str | None = None, model_version: str | int = "latest") -> Any:
        """What load_model made of a version of a model. With ``path`` in cortex.yaml there is one, and any name is it.

        Raises:
            UserRuntimeException: no such model or version, or load_model raised.
        """
        model_version = str(model_version)
        if model_version != "latest" and not (model_version.isascii() and model_version.isdecimal()):
            raise UserRuntimeException("model_version must be either a parse-able numeric value or 'latest'")
        name = self._check_name(model_name)
        versions = self._versions_of(name)
        if model_version == "latest":
            if not versions:
                raise UserRuntimeException(
                    f"'{name}' model's versions have been removed; add at least a version to the model to resume"
                    " operations"
                )
            return self._get(list(versions.values()))
        if int(model_version) not in versions:
            raise UserRuntimeException(f"model {name} of version {model_version} wasn't found")
        wanted = versions[int(model_version)]
        with self._state:
            self._asked_for.add(wanted.key)
        return self._get([wanted])

    def describe(self) -> dict[str, dict[str, list[Any]]]:
        """Cortex's ``model_metadata``: the versions of each model, and when each was last written to."""
        described: dict[str, dict[str, list[Any]]] = {}
        for name in self._folders.names():
            versions = sorted(self._folders.versions_of(name).values(), key=lambda item: item.version)
            described[name] = {
                "versions": [str(item.version) for item in versions],
                "timestamps": [item.modified_s for item in versions],
            }
        return described

    def _check_name(self, name: str | None) -> str:
        if SINGLE_MODEL_NAME in self._folders.fixed_names:
            return SINGLE_MODEL_NAME
        if name is None:
            names = list(self._folders.fixed_names)
            raise UserRuntimeException(
                "model_name was not specified" + (f", choose one of the following: {names}" if names else "")
            )
        if name not in self._folders:
            raise UserRuntimeException(f"'{name}' model wasn't found in the list of available models")
        return name

    def _versions_of(self, name: str) -> dict[int, ModelVersion]:
        """Highest first. Forgets what was loaded from folders that are gone."""
        now = time.monotonic()
        with self._state:
            looked, versions = self._known.get(name, (-_LOOK_AGAIN_S, {}))
            if now - looked < _LOOK_AGAIN_S:
                return versions
        versions = self._folders.versions_of(name)
        keys = {item.key for item in versions.values()}
        with self._state:
            self._known[name] = now, versions
            for key in [key for key in self.models if _name_of(key) == name and key not in keys]:
                self._forget(key)
        return versions

    def _get(self, wanted: Sequence[ModelVersion]) -> Any:
        """The first of these, which may need loading; where that fails, or another thread is at it, the next best."""
        ready, found = self._find_ready(wanted)
        if ready:
            return found
        loaded, old = self._find_loaded(wanted)
        with self._state:
            lock = self._loading.setdefault(wanted[0].name, threading.RLock())
        if not lock.acquire(blocking=not loaded):
            return old
        try:
            return self._load_first(wanted)
        finally:
            lock.release()

    def _find_ready(self, wanted: Sequence[ModelVersion]) -> tuple[bool, Any]:
        """Whether the first that can be had is loaded, from the files as they are unless those fail, and it."""
        with self._state:
            for item in wanted:
                failed = self._failed.get(item.key) == item.stamp
                if item.key in self.models and (failed or self._stamps[item.key] == item.stamp):
                    self.models.move_to_end(item.key)
                    return True, self.models[item.key]
                if not failed:
                    break
        return False, None

    def _find_loaded(self, wanted: Sequence[ModelVersion]) -> tuple[bool, Any]:
        """Whether any of them is loaded, be it from older files, and the first such."""
        with self._state:
            for item in wanted:
                if item.key in self.models:
                    self.models.move_to_end(item.key)
                    return True, self.models[item.key]
        return False, None

    def _load_first(self, wanted: Sequence[ModelVersion]) -> Any:
        problem: Exception | None = None
        untried = [item for item in wanted if self._failed.get(item.key) != item.stamp]
        for item in untried or wanted:
            if self._stamps.get(item.key) == item.stamp:  # an older one, or loaded by the thread that was waited for
                break
            try:
                return self._load(item, wanted)
            except Exception as error:
                problem = problem or error
                self._failed[item.key] = item.stamp
                _LOGGER.exception("loading model %s of version %d failed", item.name, item.version)
            if item.key in self.models:  # from the files as they were
                break
        loaded, model = self._find_loaded(wanted)
        if not loaded:
            item = wanted[0]
            raise UserRuntimeException(
                f"failed (re-)loading model {item.name} of version {item.version}: {problem}"
            ) from problem
        return model

    def _load(self, item: ModelVersion, wanted: Sequence[ModelVersion]) -> Any:
        if self._load_model is None:
            raise UserRuntimeException("get_model was called before the predictor was there")
        with self._state:
            # What serves until this one is loaded stays.
            serving = next((other.key for other in wanted if other.key in self.models), None)
            self._make_room([key for key in self.models if key != serving], 1)
        _LOGGER.info("loading model %s of version %d from %s", item.name, item.version, item.folder)
        model = self._load_model(str(item.folder))
        with self._state:
            self.models[item.key] = model
            self.models.move_to_end(item.key)
            self._stamps[item.key] = item.stamp
            self._failed.pop(item.key, None)
            self.loads += 1
            for older in wanted:
                if older.version < item.version and older.key not in self._asked_for:
                    self._forget(older.key)
            self._make_room([key for key in self.models if key != item.key], 0)
        return model

    def _make_room(self, keys: list[str], places: int) -> None:
        """Forget the least recently used of these. Whoever still works with one holds it by himself."""
        while self._cache_size is not None and keys and len(self.models) > self._cache_size - places:
            self._forget(keys.pop(0))

    def _forget(self, key: str) -> None:
        if key in self.models:
            del self.models[key], self._stamps[key]
            _LOGGER.info("model %s is no longer in memory", key)


def _name_of(key: str) -> str:
    return key.rpartition("/")[0]
