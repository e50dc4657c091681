"""What the facade is told, besides which APIs there are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FacadeSettings"]


@dataclass(frozen=True)
class FacadeSettings:
    """Limits of the facade. How many requests of an API may be in flight comes with the API itself."""

    max_body_bytes: int = 64 * 1024 * 1024
    request_timeout_s: float = 60.0
    """For the request to arrive, and again for its answer."""
    readiness_timeout_s: float = 2.0
    """How long Triton may take to say that it is ready."""
    drain_timeout_s: float = 5.0
    """How long answers that are under way at SIGTERM may take."""
