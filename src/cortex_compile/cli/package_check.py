"""`package --check`: build the image, run it as a person would, and ask it what the build was compiled with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cortex_compile.errors import LaunchError, ServiceError
from cortex_compile.launchers.docker_context import ImageContext

__all__ = ["check_image"]

_READY_TIMEOUT_S = 300.0


def check_image(context: ImageContext, build: Path) -> None:
    """Leaves the image, by its tag, and no container.

    Raises:
        LaunchError: there is no engine, the image cannot be built, or its container does not become ready.
        ServiceError: the service does not answer the build's first sample with success.
    """
    from cortex_compile.launchers.docker_engine import connect_to_engine

    client = connect_to_engine()
    click.echo(f"Building {context.tag} …", err=True)
    _build(client, context)
    with _running(client, context) as url:
        click.echo(f"{context.tag}: built, ready, and {_ask(url, build, context.name)}")


def _build(client: Any, context: ImageContext) -> None:
    from docker.errors import APIError, BuildError

    try:
        client.images.build(path=str(context.folder), tag=context.tag, rm=True, forcerm=True)
    except BuildError as error:
        lines = [line.get("stream", "").rstrip() for line in error.build_log if line.get("stream", "").strip()]
        said = "; ".join([*lines[-2:], " ".join(error.msg.split())])
        raise LaunchError(f"The image cannot be built from {context.folder}: {said}") from error
    except APIError as error:
        said = " ".join(str(error.explanation or error).split())
        raise LaunchError(f"The image cannot be built from {context.folder}: {said}") from error


@contextlib.contextmanager
def _running(client: Any, context: ImageContext) -> Iterator[str]:
    """The facade's URL, with the image run as its Dockerfile says."""
    from cortex_compile.launchers.docker_engine import explain_refusal
    from cortex_compile.launchers.docker_watch import what_ended_it

    try:
        container = client.containers.run(
            context.tag,
            detach=True,
            read_only=True,
            tmpfs={"/tmp": "exec,mode=1777"},  # noqa: S108  # the container's own
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            shm_size=context.shm_bytes,
            ports={"8888/tcp": ("127.0.0.1", None)},
        )
    except Exception as error:  # the SDK's own errors, and requests' beneath it
        raise explain_refusal(error, context.tag) from error
    try:
        url = _wait_for_port(container)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not _is_ready(url):
            container.reload()
            if container.status != "running" or time.monotonic() > deadline:
                what = (
                    "It was not ready in time"
                    if container.status == "running"
                    else what_ended_it(container.attrs["State"], None)
                )
                last = container.logs(tail=5).decode(errors="replace").strip()
                raise LaunchError(f"The container of {context.tag} does not serve. {what}. Its log ends: {last}")
            time.sleep(0.2)
        yield url
    finally:
        container.remove(force=True, v=True)


def _wait_for_port(container: Any) -> str:
    for _ in range(50):
        container.reload()
        if bound := container.ports.get("8888/tcp"):
            return f"http://127.0.0.1:{bound[0]['HostPort']}"
        time.sleep(0.1)
    raise LaunchError("The Docker engine published no port for the container; it needs a bridge network for that.")


def _is_ready(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _ask(url: str, build: Path, name: str) -> str:
    import httpx

    from cortex_compile.cli.example_request import first_sample

    sample = first_sample(build, name)
    if sample is None:
        return "not asked, since the build has no sample"
    address = f"{url}/?{sample.query}" if sample.query else f"{url}/"
    try:
        answer = httpx.post(
            address, content=sample.path.read_bytes(), headers={"content-type": sample.content_type}, timeout=120
        )
    except httpx.HTTPError as error:
        raise ServiceError(f"The container did not answer {sample.path.name!r}: {error}") from error
    if answer.status_code >= 400:
        raise ServiceError(
            f"The container answered {sample.path.name!r} with {answer.status_code}: {answer.text[:200]}"
        )
    return f"answered {sample.path.name} with {answer.status_code}: {answer.text[:100]}"
