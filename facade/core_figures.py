"""What predictors' processes tell of their compiled modules, through Triton's metrics."""

from __future__ import annotations

import asyncio
import http.client
import logging
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["CoreFigures"]

_log = logging.getLogger(__name__)

_PREFIX = "cortex_compile_"
_DRIFT = "cortex_compile_drift"


class CoreFigures:
    """Reads the metrics of one Triton. Where they cannot be read, nothing is told and predictions go on."""

    def __init__(self, address: str | None, apis: Sequence[str], timeout_s: float) -> None:
        """``address`` is HOST:PORT of Triton's metrics; other models than ``apis`` may be in that Triton, too."""
        self._address = address
        self._labels = tuple(f'api="{name}"' for name in apis)
        self._timeout_s = timeout_s
        self._complained = False

    async def as_text(self) -> bytes:
        """The figures of these APIs in Prometheus's text format; nothing where there are none."""
        lines = await self._read()
        return "".join(f"{line}\n" for line in lines or ()).encode()

    async def drift(self) -> dict[str, dict[str, str]] | None:
        """By API, the modules that were compiled and stay eager, and why; None where it is not known."""
        lines = await self._read()
        if lines is None:
            return None
        found: dict[str, dict[str, str]] = {}
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name == _DRIFT and sample.value:
                    modules = found.setdefault(sample.labels["api"], {})
                    others = [modules[sample.labels["module"]]] if sample.labels["module"] in modules else []
                    modules[sample.labels["module"]] = "; ".join([*others, sample.labels["reason"]])
        return found

    async def _read(self) -> list[str] | None:
        if self._address is None:
            return None
        try:
            text = await asyncio.to_thread(_fetch, self._address, self._timeout_s)
        except (OSError, http.client.HTTPException) as error:
            if not self._complained:
                _log.warning(
                    "Triton's metrics at %s cannot be read (%s): none of compiled modules", self._address, error
                )
            self._complained = True
            return None
        self._complained = False
        return [line for line in text.splitlines() if self._is_ours(line)]

    def _is_ours(self, line: str) -> bool:
        if line.startswith("#"):
            return line.split(" ", 3)[2].startswith(_PREFIX)
        return line.startswith(_PREFIX) and any(label in line for label in self._labels)


def _fetch(address: str, timeout_s: float) -> str:
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        if response.status != 200:
            raise http.client.HTTPException(f"status {response.status}")
        return response.read().decode()
    finally:
        connection.close()
