"""Errors that are alike are logged a few times and then counted: of a model that is loaded again each request fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable

__all__ = ["FewLines"]

_MOST = 5
_WITHIN_S = 10.0


class FewLines:
    """To be used in one event loop.

    Args:
        log: gets the lines.
        about: begins the line that says how many more there were.
    """

    def __init__(self, log: logging.Logger, about: str) -> None:
        self._log = log
        self._about = about
        self._counts: dict[Hashable, int] = {}

    def error(self, kind: Hashable, line: str) -> None:
        """Log a line, unless there were some of its kind a moment ago."""
        if kind not in self._counts:
            asyncio.get_running_loop().call_later(_WITHIN_S, self._tell_of_others, kind, line)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= _MOST:
            self._log.error("%s", line)

    def _tell_of_others(self, kind: Hashable, line: str) -> None:
        others = self._counts.pop(kind) - _MOST
        if others > 0:
            self._log.error("%s: %d more within %g s like this one: %s", self._about, others, _WITHIN_S, line)
