"""What a launcher is: it starts a Triton that serves builds, says where, and stops it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable


@dataclass(frozen=True)
class Endpoints:
    """Where a started Triton listens, each as ``"127.0.0.1:PORT"``."""

    http: str
    grpc: str
    metrics: str


@runtime_checkable
class Launcher(Protocol):
    """One run of one Triton. As a context manager it starts on entry and stops on exit."""

    def start(self, timeout_s: float = 300.0) -> Endpoints:
        """Start the server and return when every model is ready.

        Raises:
            LaunchError: it did not start; nothing of it is left running.
        """
        ...

    def poll(self) -> int | None:
        """The server's exit status, or None while it runs or is repaired."""
        ...

    @property
    def failure(self) -> str | None:
        """Why the server was given up, when it was: what failed again and again."""
        ...

    def health(self) -> Mapping[str, str]:
        """Why APIs are not ready, by their names, with "" for the server as a whole; empty when all is well.

        Cheap, to be called from any thread, and told to clients: nothing internal.
        """
        ...

    def repairs(self) -> Mapping[str, Mapping[str, int]]:
        """How often something was replaced, by API ("" for the server as a whole) and reason.

        Requests that an API had under way are lost with it, unless the reason begins with ``core_``: that was a
        compiled module's own process. To be called from any thread.
        """
        ...

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, from any thread, whenever the three above may say something else than before."""
        ...

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the server, at the latest after ``timeout_s``, and remove what it left. Does nothing the second time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
