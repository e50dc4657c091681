"""The APIs that a facade serves, and the paths on which they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cortex_compile.errors import UsageError
from cortex_compile.python_backend.manifest import Manifest

__all__ = ["ApiRoute", "Example", "check_routes", "paths_by_api", "route_of"]

_OWN_PATHS = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/static-offline-docs")


@dataclass(frozen=True)
class Example:
    """A request that the build was compiled with, for the documentation page."""

    content_type: str
    body: str


@dataclass(frozen=True)
class ApiRoute:
    """One API: ``name`` is also its model's in Triton, ``endpoint`` the path, with its leading slash."""

    name: str
    endpoint: str
    max_concurrency: int
    example: Example | None = None
    streaming: bool = False
    """Its model is decoupled, and answers in chunks."""
    max_body_bytes: int = 64 * 1024 * 1024
    request_timeout_s: float = 60.0
    """For the request to arrive, then for its answer; if that comes in chunks, for the first and for each next one."""
    shared_calls: int = 0
    """How many calls that hold several requests its model may be at; 0 where each request is a call of its own."""
    shared_rows: int = 1
    """So many requests take its model hardly longer than one, in one call."""
    most_under_way: int = 2
    """So many requests are given to its model: what it works at, and as many more that it finds ready then."""
    has_models: bool = False
    """It loads models by name and version, and tells GET which there are."""
    cancel_after_s: float | None = 1.0
    """A call that nobody waits for any longer may be cancelled so long after it was sent; None: never. See
    ``triton_answer.cancel_later``."""
    idempotent: bool = False
    """A request whose answer was lost with the predictor's process is asked again, once."""

    @property
    def works_at(self) -> int:
        """So many requests begin as soon as they come."""
        return max(1, self.most_under_way // 2)


def route_of(manifest: Manifest, example: Example | None = None) -> ApiRoute:
    return ApiRoute(
        name=manifest.name,
        endpoint="/" + manifest.endpoint.strip("/"),
        max_concurrency=manifest.max_replica_concurrency,
        example=example,
        streaming=manifest.streaming,
        max_body_bytes=manifest.max_body_bytes,
        request_timeout_s=manifest.request_timeout_s,
        shared_calls=_shared_calls(manifest),
        shared_rows=_shared_rows(manifest),
        most_under_way=_most_under_way(manifest),
        has_models=manifest.models is not None,
        cancel_after_s=None if _waits_in_triton(manifest) else 1.0,
        idempotent=manifest.idempotent,
    )


def _waits_in_triton(manifest: Manifest) -> bool:
    """Whether what comes while the predictor is at another request does so, however long, and not in its process."""
    in_execute = manifest.dispatch is not None and manifest.dispatch.in_execute
    return manifest.processes_per_replica > 1 or in_execute


def _shared_rows(manifest: Manifest) -> int:
    return manifest.dispatch.shared_rows if manifest.dispatch is not None else 1


def _most_under_way(manifest: Manifest) -> int:
    threads = manifest.dispatch.threads if manifest.dispatch is not None else manifest.threads_per_process
    # Where runs are shared, those that make the next one ready are among the threads (compiler/choose_dispatch.py).
    return manifest.processes_per_replica * (threads if _shared_rows(manifest) > 1 else 2 * threads)


def _shared_calls(manifest: Manifest) -> int:
    # A stream is one request's, and a batch is gathered behind Triton.
    if manifest.streaming or manifest.server_side_batching is not None:
        return 0
    return manifest.processes_per_replica


def paths_by_api(apis: Sequence[ApiRoute]) -> dict[str, ApiRoute]:
    """Which API answers on which path. A single one answers on ``/`` too."""
    paths = {api.endpoint: api for api in apis}
    if len(apis) == 1:
        paths = {"/": apis[0], **paths}
    return paths


def check_routes(apis: Sequence[ApiRoute]) -> None:
    """
    Raises:
        UsageError: two APIs of one name or endpoint, or an endpoint that is the facade's own.
    """
    names: set[str] = set()
    endpoints: dict[str, str] = {}
    for api in apis:
        if api.name in names:
            raise UsageError(f"two APIs are called {api.name!r}; compile one of them with another --name")
        if api.endpoint in endpoints:
            raise UsageError(
                f"{endpoints[api.endpoint]!r} and {api.name!r} both answer on {api.endpoint!r}; "
                "change networking.endpoint of one of them in cortex.yaml and compile it again"
            )
        if any(api.endpoint == path or api.endpoint.startswith(f"{path}/") for path in _OWN_PATHS):
            raise UsageError(
                f"{api.name!r} wants to answer on {api.endpoint!r}, which is the server's own; "
                "change networking.endpoint in cortex.yaml and compile it again"
            )
        names.add(api.name)
        endpoints[api.endpoint] = api.name
