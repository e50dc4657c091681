"""Compiled modules inside models that ``python_client`` loads: exchanged when their model is there."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from .exchange import CallRemote, ExchangedCore, exchange_cores
from .find_modules import find_modules
from .manifest import Manifest
from .python_client import PythonClient

__all__ = ["LaterExchange"]

logger = logging.getLogger("cortex_compile.runtime")


class LaterExchange:
    """Looks for compiled modules again whenever something was loaded.

    A model is loaded by the request that first asks for it, and so is one that fell out of the cache. A version that
    was not there when the build was compiled has no compiled modules and runs as it is.
    """

    def __init__(
        self,
        client: PythonClient,
        predictor: object,
        user_module: ModuleType,
        manifest: Manifest,
        version_folder: Path,
        call_remote: CallRemote | None,
        *,
        alone: bool,
        tell: Callable[[Sequence[ExchangedCore]], None],
    ) -> None:
        """
        Args:
            alone: no other thread than the one that looks runs the user's code.
            tell: called with what became of the cores that were found.
        """
        self._client = client
        self._predictor = predictor
        self._user_module = user_module
        self._manifest = manifest
        self._version_folder = version_folder
        self._call_remote = call_remote
        self._alone = alone
        self._tell = tell
        self._lock = threading.Lock()
        self._seen_loads = -1
        self._seen_models: set[str] = set()
        self._done: weakref.WeakSet[Any] = weakref.WeakSet()

    def look_again(self) -> None:
        """Does nothing when nothing was loaded since the last time. Never raises: what is not exchanged runs eager."""
        if self._client.loads == self._seen_loads:
            return
        with self._lock:
            try:
                self._exchange()
            except Exception:
                logger.exception("compiled modules could not be looked for")

    def _exchange(self) -> None:
        first, self._seen_loads = self._seen_loads < 0, self._client.loads
        loaded = set(self._client.models)
        new, self._seen_models = loaded - self._seen_models, loaded
        modules = find_modules(self._predictor, self._user_module)
        found = [core for core in self._manifest.cores if core.path in modules]
        cores = tuple(core for core in found if modules[core.path] not in self._done)
        if first and len(found) < len(self._manifest.cores):
            waiting = [core.path for core in self._manifest.cores if core not in found]
            logger.info("modules that are compiled when their model is loaded: %s", ", ".join(waiting))
        elif new and not cores:
            logger.info("model %s runs as it is: nothing of it was compiled", ", ".join(sorted(new)))
        self._done.update(modules[core.path] for core in cores)
        if not first and not self._alone:
            # Another thread may be reading the weights that would be put on disk.
            cores = tuple(replace(core, weights_file=None) for core in cores)
        manifest = replace(self._manifest, cores=cores)
        parts = (self._predictor, self._user_module, manifest, self._version_folder, self._call_remote)
        self._tell(exchange_cores(*parts))
