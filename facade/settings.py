"""What the facade is told, besides which APIs there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FacadeSettings"]


@dataclass(frozen=True)
class FacadeSettings:
    """Limits of the facade. Those of an API come with the API itself."""

    readiness_timeout_s: float = 2.0
    """How long Triton may take to say that it is ready."""
    metrics_address: str | None = None
    """HOST:PORT of Triton's metrics, which tell of compiled modules."""
    triton_http_address: str | None = None
    """HOST:PORT where Triton listens for HTTP, where that is known."""
    drain_timeout_s: float = 5.0
    """How long answers that are under way at SIGTERM may take."""
    cors_origins: tuple[str, ...] = ()
    """The sites whose pages may read answers."""
    api_keys: Path | None = None
    """The file of the keys of which a request needs one; None where everybody may ask."""
    max_client_concurrency: int | None = None
    """How many requests of one client may be under way, in all workers together."""
    tls_certificate: Path | None = None
    """With ``tls_key``: HTTPS, and no HTTP."""
    tls_key: Path | None = None
    max_header_count: int = 100
    max_header_bytes: int = 64 * 1024
    max_target_bytes: int = 16 * 1024
    """Of the path and the query together."""
    head_timeout_s: float = 10.0
    """How long a request may take from its first byte to the end of its headers."""
