"""What a facade worker is told by the process that started it: an order at first, then a state whenever it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .api_keys import ApiKey
from .api_route import ApiRoute
from .settings import FacadeSettings

__all__ = ["Order", "State"]


@dataclass(frozen=True)
class State:
    """What may change while a worker runs. A later one has a larger ``serial``."""

    serial: int
    apis: tuple[ApiRoute, ...]
    faults: dict[str, str] = field(default_factory=dict)
    """Why a model is not ready, by its name, and "" for the server; none while all is well."""
    repairs: dict[str, dict[str, int]] = field(default_factory=dict)
    """How often something was replaced, by API, or "" for the server, and reason."""
    keys: tuple[ApiKey, ...] = ()
    """Those that are valid, where requests need one."""


@dataclass(frozen=True)
class Order:
    """What a worker does as long as it runs."""

    triton_address: str
    settings: FacadeSettings
    metrics_folder: Path
    """Where all workers of a facade count."""
    check_ready: bool
    """Whether it ends where Triton is not ready: at the first start, and not where one takes another's place."""
    state: State
    number: int = 0
    """Its place among the workers, which one that is started in its stead takes over, counts included."""
    workers: int = 1
    listener_fd: int = -1
