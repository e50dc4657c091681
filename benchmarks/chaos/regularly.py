"""Something that is looked at from a thread of its own, again and again, from ``with`` on."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

__all__ = ["Regularly"]


class Regularly(ABC):
    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    @abstractmethod
    def look(self) -> None: ...

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            self.look()
