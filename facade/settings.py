"""What the facade is told, besides which APIs there are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FacadeSettings"]


@dataclass(frozen=True)
class FacadeSettings:
    """Limits of the facade. Those of an API come with the API itself."""

    readiness_timeout_s: float = 2.0
    """How long Triton may take to say that it is ready."""
    metrics_address: str | None = None
    """HOST:PORT of Triton's metrics, which tell of compiled modules."""
    drain_timeout_s: float = 5.0
    """How long answers that are under way at SIGTERM may take."""
    cors_origins: tuple[str, ...] = ()
    """The sites whose pages may read answers."""
