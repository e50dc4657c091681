"""`cortex-compile serve`: builds on Triton behind the facade."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cortex_compile.errors import UsageError

if TYPE_CHECKING:
    from cortex_compile.facade.api_route import ApiRoute
    from cortex_compile.facade.settings import FacadeSettings
    from cortex_compile.python_backend.manifest import Manifest

__all__ = ["serve"]


@click.command(short_help="Serve builds on Triton, over HTTP.")
@click.argument("builds", nargs=-1, required=True, metavar="BUILD…", type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    default="embedded",
    show_default=True,
    metavar="embedded|docker|image|HOST:PORT",
    help="The server that runs the builds: the embedded one, one in a container, the one of the image that this runs "
    "in, or the gRPC address of a running Triton that has them.",
)
@click.option("--image", help="With --runtime docker: the Triton image.  [default: NVIDIA's 26.06]")
@click.option("--gpus", metavar="all|0,1|none", help="With --runtime docker: the container's GPUs.  [default: none]")
@click.option("--memory", metavar="SIZE", help="With --runtime docker: the most that it may take, as 4g.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8888, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 64),
    help="How many processes take HTTP requests; more than one where predictors are quick and cores are free.",
)
@click.option(
    "--watch", is_flag=True, help="Have a build that is compiled again take the place of the one that is served."
)
@click.option("--triton-http-port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--triton-grpc-port", default=8001, show_default=True, type=click.IntRange(0, 65535))
@click.option("--triton-metrics-port", default=8002, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="A site whose pages may read answers, as https://app.example.com, or * for all; may repeat. Default: none.",
)
@click.option(
    "--api-keys",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answer only who has a key of this file, which `cortex-compile api-key` writes; read again when it changes.",
)
@click.option(
    "--max-client-requests",
    metavar="N",
    type=click.IntRange(1),
    help="How many requests of one client (an API key, or an address) may be under way.",
)
@click.option(
    "--tls-cert",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --tls-key: HTTPS with this certificate (PEM, with its chain); read again when it changes.",
)
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="The certificate's key (PEM).")
@click.option(
    "--drain-timeout",
    "drain_timeout_s",
    default=5,
    show_default=True,
    metavar="SECONDS",
    type=click.IntRange(0, 86400),
    help="How long requests under way may take when it is told to stop; Triton takes up to 4 s more.",
)
def serve(
    builds: tuple[Path, ...],
    runtime: str,
    image: str | None,
    gpus: str | None,
    memory: str | None,
    host: str,
    port: int,
    triton_http_port: int,
    triton_grpc_port: int,
    triton_metrics_port: int,
    workers: int,
    watch: bool,
    cors_origins: tuple[str, ...],
    api_keys: Path | None,
    max_client_requests: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    drain_timeout_s: int,
) -> None:
    """Serve builds on Triton, over HTTP.

    One build answers on / and on its endpoint, several each on their own. Stops at Ctrl-C or SIGTERM, when the
    requests under way are answered.
    """
    from cortex_compile.cli.runtimes import parse_runtime, running_triton
    from cortex_compile.cli.updates import read_route, taking_updates
    from cortex_compile.facade.api_route import check_routes
    from cortex_compile.facade.cors import check_origin
    from cortex_compile.facade.listener import listen
    from cortex_compile.facade.settings import FacadeSettings
    from cortex_compile.facade.supervisor import FacadeSupervisor

    ports = (triton_http_port, triton_grpc_port, triton_metrics_port)
    chosen = parse_runtime(runtime, ports, image, gpus, memory)
    settings = FacadeSettings(
        drain_timeout_s=drain_timeout_s,
        cors_origins=tuple(check_origin(origin) for origin in cors_origins),
        api_keys=api_keys,
        max_client_concurrency=max_client_requests,
        tls_certificate=tls_cert,
        tls_key=tls_key,
    )
    _check_files(settings)
    manifests = read_builds(builds)
    routes = [read_route(build, manifest) for build, manifest in zip(builds, manifests, strict=True)]
    check_routes(routes)
    _log_to_stderr()
    listeners = listen(host, port, workers)
    listens_on: int = listeners[0].getsockname()[1]
    url = _url_of(host, listens_on, settings)
    with (
        FacadeSupervisor(listeners) as facade,
        running_triton(chosen, builds) as triton,
        taking_updates(triton, facade, listens_on, builds if watch else ()),
    ):
        triton.when_changed(facade.look_again)
        facade.serve(
            routes,
            triton.addresses.grpc,
            # Of a Triton that runs somewhere only the gRPC address was given: what listens elsewhere may be another.
            replace(
                settings,
                metrics_address=triton.addresses.metrics,
                triton_http_address=triton.addresses.http if chosen.address is None else None,
            ),
            when_ready=lambda: _announce(url, builds, routes, settings),
            poll_triton=triton.poll,
            health=triton.health,
            repairs=triton.repairs,
        )
    click.echo("Stopped.", err=True)


def _check_files(settings: FacadeSettings) -> None:
    """Before Triton is started, which takes its time.

    Raises:
        UsageError: the keys or the certificate cannot be used.
    """
    from cortex_compile.facade.api_keys import read_api_keys
    from cortex_compile.facade.tls import tls_context

    if settings.api_keys is not None:
        read_api_keys(settings.api_keys)
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together; give both, or neither for plain HTTP")
    if settings.tls_certificate is not None and settings.tls_key is not None:
        tls_context(settings.tls_certificate, settings.tls_key)


def read_builds(builds: Sequence[Path]) -> list[Manifest]:
    """
    Raises:
        BuildError: a folder is not a build, or is damaged.
        UsageError: two builds have one name or one endpoint; both folders are named.
    """
    from cortex_compile.python_backend.manifest import check_build

    manifests: list[Manifest] = []
    by_name: dict[str, Path] = {}
    by_endpoint: dict[str, Path] = {}
    for build in builds:
        manifest = check_build(build)
        endpoint = "/" + manifest.endpoint.strip("/")
        if manifest.name in by_name:
            raise UsageError(
                f"{str(by_name[manifest.name])!r} and {str(build)!r} are both builds of {manifest.name!r}; "
                "serve one of them, or compile one with another --name"
            )
        if endpoint in by_endpoint:
            raise UsageError(
                f"{str(by_endpoint[endpoint])!r} and {str(build)!r} both answer on {endpoint!r}; "
                "serve one of them, or change networking.endpoint in cortex.yaml and compile again"
            )
        by_name[manifest.name] = by_endpoint[endpoint] = build
        manifests.append(manifest)
    return manifests


def _announce(url: str, builds: Sequence[Path], routes: Sequence[ApiRoute], settings: FacadeSettings) -> None:
    from cortex_compile.cli.example_request import curl_line, first_sample

    for build, route in zip(builds, routes, strict=True):
        address = f"{url}/" if len(routes) == 1 else f"{url}{route.endpoint}"
        click.echo(f"{route.name}: {address}")
        curl = curl_line(address, first_sample(build, route.name))
        # In double quotes: the shell puts the key in.
        click.echo(f"  {curl}" if settings.api_keys is None else f'  {curl} -H "authorization: Bearer $API_KEY"')
    click.echo(f"Ready. {url}/docs describes the API, {url}/metrics has its figures. Ctrl-C stops.", err=True)
    sys.stdout.flush()


def _url_of(host: str, port: int, settings: FacadeSettings) -> str:
    """An address that works on this machine: one cannot connect to "all addresses"."""
    scheme = "http" if settings.tls_certificate is None else "https"
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"{scheme}://[{reachable}]:{port}" if ":" in reachable else f"{scheme}://{reachable}:{port}"


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
