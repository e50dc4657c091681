"""What is wrong at the moment with a server and its models, and how often something was repaired. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable

SERVER = ""
"""Stands for the server as a whole, where an API's name would stand."""

ANSWERS_NOBODY = "it does not answer at the moment"
"""A fault that may pass by itself."""


class Health:
    """One server's. ``faults`` and ``repairs`` give copies; ``changed`` is called when they give something else."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self._lock = threading.Lock()
        self._faults: dict[str, dict[str, str]] = {}
        self._repairs: dict[str, dict[str, int]] = {}

    def report(self, api: str, model: str, fault: str) -> None:
        """``model`` of an API is not well. ``fault`` is told to clients, so it holds nothing internal."""
        with self._lock:
            faults = self._faults.setdefault(api, {})
            is_new, faults[model] = faults.get(model) != fault, fault
        if is_new:
            self.changed()

    def clear(self, api: str, model: str) -> None:
        with self._lock:
            was_told = self._faults.get(api, {}).pop(model, None) is not None
        if was_told:
            self.changed()

    def count(self, api: str, reason: str) -> None:
        """Something of an API was replaced. The reason of a compiled module's own model begins with ``core_``."""
        with self._lock:
            reasons = self._repairs.setdefault(api, {})
            reasons[reason] = reasons.get(reason, 0) + 1
        self.changed()

    def faults(self) -> dict[str, str]:
        """Why each API is not ready, that of the predictor's own model first; empty when all is well."""
        with self._lock:
            return {
                api: faults.get(api) or next(iter(faults.values())) for api, faults in self._faults.items() if faults
            }

    def repairs(self) -> dict[str, dict[str, int]]:
        """How often something was replaced, by API and reason."""
        with self._lock:
            return {api: dict(reasons) for api, reasons in self._repairs.items()}
