"""The facade: HTTP in, one call to the predictor's model in Triton, HTTP out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse

from cortex_compile import __version__

from .api_route import ApiRoute, check_routes, paths_by_api
from .core_figures import CoreFigures
from .cors import allow_origins
from .guard import Guard
from .hot_path import HotPath
from .lost_calls import LostCalls
from .metrics import FacadeMetrics
from .openapi import describe_apis
from .readiness import Readiness
from .repair_figures import RepairFigures
from .request_id import RequestIdMiddleware
from .routes import PredictionRoute
from .server_timing import ServerTimingMiddleware
from .service import PredictionService
from .settings import FacadeSettings
from .triton_client import TritonPredictorClient

__all__ = ["create_app"]


def create_app(
    apis: Sequence[ApiRoute],
    triton: TritonPredictorClient,
    settings: FacadeSettings,
    metrics: FacadeMetrics | None = None,
    faults: Callable[[], Mapping[str, str]] = dict,
    repairs: Callable[[], Mapping[str, Mapping[str, int]]] = dict,
    lost_calls: LostCalls | None = None,
    guard: Guard | None = None,
) -> FastAPI:
    """The application that answers for ``apis``. Its ``state.readiness`` can be turned off, before it is stopped; its
    ``state.direct`` are the routes that may be asked without it, by their paths as they stand in a request.

    Args:
        faults: why a model is not ready, by its name, and "" for the server.
        repairs: how often something was replaced, by API, or "" for the server, and reason.
        lost_calls: is told when, if there is somebody to tell it.
        guard: says who may ask.

    Raises:
        UsageError: two APIs have one name or endpoint, or an endpoint is the facade's own.
    """
    check_routes(apis)
    # The page of FastAPI itself loads its scripts from another host, and so stays empty on a machine without network.
    app = FastAPIOffline(
        redoc_url=None,
        title=" · ".join(api.name for api in apis),
        version=__version__,
        swagger_ui_parameters={"validatorUrl": None},
        redirect_slashes=False,
    )
    metrics, paths = metrics or FacadeMetrics(), paths_by_api(apis)
    cores = CoreFigures(settings.metrics_address, [api.name for api in apis], settings.readiness_timeout_s)
    readiness = app.state.readiness = Readiness(apis, triton, cores, settings, faults)
    # One for each API, not for each path: an API has one limit.
    lost_calls = lost_calls or LostCalls(repairs())
    services = {api.name: PredictionService(api, triton, lost_calls) for api in apis}
    routes = {name: PredictionRoute(service, metrics.of_api(name)) for name, service in services.items()}
    _add_own_routes(app, readiness, metrics, cores, RepairFigures(repairs))
    _explain_errors(app, paths)
    _describe(app, paths)
    is_open = not settings.cors_origins and (guard is None or guard.is_open)
    app.state.direct = {
        path.encode(): routes[api.name] for path, api in paths.items() if is_open and routes[api.name].answers_whole
    }
    hot_path = HotPath({path: routes[api.name] for path, api in paths.items()}, app, app.build_middleware_stack())
    # Preflights have no key, but an id and a time.
    answering = allow_origins(guard.around(hot_path) if guard else hot_path, settings.cors_origins)
    app.middleware_stack = ServerTimingMiddleware(RequestIdMiddleware(answering))
    return app


def _add_own_routes(
    app: FastAPI, readiness: Readiness, metrics: FacadeMetrics, cores: CoreFigures, repairs: RepairFigures
) -> None:
    @app.get("/healthz", tags=["server"], summary="Whether the server itself is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "Not ready: the answer says what is missing."}}

    @app.get("/readyz", tags=["server"], summary="Whether Triton and every model are ready", responses=not_ready)
    async def readyz() -> JSONResponse:
        report = await readiness.check()
        return JSONResponse(report, 200 if report["ready"] else 503)

    @app.get("/metrics", tags=["server"], summary="Prometheus's text format", response_class=PlainTextResponse)
    async def metrics_text() -> Response:
        text = metrics.as_text() + repairs.as_text() + await cores.as_text()
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _explain_errors(app: FastAPI, paths: dict[str, ApiRoute]) -> None:
    routes = ", ".join(f"POST {path}" for path in paths)

    async def explain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"no such path; there are {routes}" if error.status_code == 404 else error.detail
        return JSONResponse({"error": message}, error.status_code, headers=error.headers)

    app.add_exception_handler(HTTPException, explain)


def _describe(app: FastAPI, paths: dict[str, ApiRoute]) -> None:
    of_own_routes = app.openapi

    def document() -> dict[str, Any]:
        return app.openapi_schema if app.openapi_schema else describe_apis(of_own_routes(), paths)

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend it
