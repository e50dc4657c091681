"""What `update`, `rollback` and `serve --watch` have a server do: the launcher's side."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cortex_compile.errors import BuildError, CortexCompileError, LaunchError, UsageError

if TYPE_CHECKING:
    from cortex_compile.cli.runtimes import RunningTriton
    from cortex_compile.facade.api_route import ApiRoute
    from cortex_compile.facade.supervisor import FacadeSupervisor
    from cortex_compile.launchers.adapt_models import SampleRequest
    from cortex_compile.launchers.control_socket import Tell
    from cortex_compile.launchers.served_folder import BuildCopy
    from cortex_compile.launchers.update_builds import BuildUpdates
    from cortex_compile.python_backend.manifest import Manifest

__all__ = ["ROLLBACK", "UPDATE", "read_route", "taking_updates"]

UPDATE, ROLLBACK = "update", "rollback"

_LOOK_EVERY_S = 1.0
# A build that is copied, and not renamed, into its place is damaged until all of it is there.
_SETTLE_S = 15.0


@contextlib.contextmanager
def taking_updates(
    triton: RunningTriton, facade: FacadeSupervisor, port: int, watched: Sequence[Path]
) -> Iterator[None]:
    """Do what commands of the same user ask, and update what changes in ``watched``.

    Raises:
        UsageError: something is to be watched, and this server takes no updates.
    """
    from cortex_compile.launchers.control_socket import answering_commands

    try:
        updates: BuildUpdates | UsageError = _updates_of(triton, facade)
    except UsageError as error:
        if watched:
            raise
        updates = error

    def handle(command: dict[str, str], tell: Tell) -> None:
        if isinstance(updates, UsageError):
            raise UsageError(str(updates))
        if command.get("command") == UPDATE:
            updates.update(Path(command["build"]), tell)
        elif command.get("command") == ROLLBACK:
            updates.go_back(command["name"], tell)
        else:
            raise UsageError("this server knows another version's commands; restart it with this one's")

    with contextlib.ExitStack() as running:
        try:
            running.enter_context(answering_commands(port, handle))
        except OSError:
            click.echo(f"Another server has port {port} of another address: this one takes no updates.", err=True)
        if not isinstance(updates, UsageError):
            for build in watched:
                threading.Thread(target=_watch, args=(build, updates), daemon=True).start()
        yield


def read_route(build: Path, manifest: Manifest) -> ApiRoute:
    """The route of a build, with its first sample as the example."""
    from cortex_compile.cli.example_request import first_sample
    from cortex_compile.facade.api_route import Example, route_of

    sample = first_sample(build, manifest.name)
    text = sample.text() if sample else None
    return route_of(manifest, Example(sample.content_type, text) if sample and text else None)


def _updates_of(triton: RunningTriton, facade: FacadeSupervisor) -> BuildUpdates:
    """
    Raises:
        UsageError: this server takes none.
    """
    from cortex_compile.facade.api_route import check_routes
    from cortex_compile.launchers.embedded import EmbeddedServer
    from cortex_compile.launchers.update_builds import BuildUpdates

    server, address = triton.server, triton.addresses.grpc
    if not isinstance(server, EmbeddedServer) or not server.folders:
        why = getattr(server, "not_updatable_since", None) or "only `--runtime embedded` does"
        raise UsageError(f"this server takes no updates: {why}; stop it and start it with the new build")

    def routes_with(copy: BuildCopy) -> list[ApiRoute]:
        new = read_route(copy.build, copy.manifest)
        return [new if api.name == new.name else api for api in facade.apis]

    def ask(model: str, manifest: Manifest, sample: SampleRequest) -> int:
        return _ask(address, model, manifest, sample)

    def served(copy: BuildCopy) -> None:
        facade.set_apis(routes_with(copy))

    return BuildUpdates(server, read_samples, ask, lambda copy: check_routes(routes_with(copy)), served)


def read_samples(build: Path, manifest: Manifest) -> list[SampleRequest]:
    """The samples that a build was compiled with, and holds, as its model takes them."""
    from cortex_compile.cli.example_request import samples_of
    from cortex_compile.facade.service import context_of
    from cortex_compile.launchers.adapt_models import SampleRequest

    return [
        SampleRequest(
            sample.name,
            sample.path.read_bytes(),
            context_of(
                sample.query.encode(), [(b"content-type", sample.content_type.encode())], manifest.request_timeout_s
            ),
            sample.status_code,
        )
        for sample in samples_of(build, manifest.name)
    ]


def _ask(address: str, model: str, manifest: Manifest, sample: SampleRequest) -> int:
    """The status of the answer to a sample, all of which has come.

    Raises:
        LaunchError: there is none.
    """
    import asyncio

    from cortex_compile.facade.triton_client import TritonCallError, TritonPredictorClient

    async def ask() -> int:
        client = TritonPredictorClient(address, len(sample.payload))
        try:
            send = client.stream if manifest.streaming else client.predict
            answer = await send(model, sample.payload, sample.context, manifest.request_timeout_s)
            while answer.rest is not None and await answer.rest.next_chunk() is not None:
                pass
            return answer.status_code
        except TritonCallError as error:
            raise LaunchError(
                f"{manifest.name!r} did not answer its sample {sample.name!r} ({error}); the server's log says why"
            ) from error
        finally:
            await client.close()

    return asyncio.run(ask())


def _watch(build: Path, updates: BuildUpdates) -> None:
    """Update whenever the build is another one. Never returns."""
    served = _state_of(build)
    while True:
        time.sleep(_LOOK_EVERY_S)
        found = _state_of(build)
        if found is not None and found != served:
            served = found
            _update(build, updates)


def _update(build: Path, updates: BuildUpdates) -> None:
    def tell(step: str) -> None:
        click.echo(f"{build}: {step}", err=True)

    tell("It has changed.")
    try:
        _wait_until_whole(build)
        updates.update(build, tell)
    except CortexCompileError as error:
        tell(f"Not updated: {error}")
    else:
        tell("Updated.")


def _wait_until_whole(build: Path) -> None:
    """
    Raises:
        BuildError: it is not, after some time.
    """
    from cortex_compile.python_backend.manifest import check_build

    deadline = time.monotonic() + _SETTLE_S
    while True:
        try:
            check_build(build)
            return
        except BuildError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_EVERY_S)


def _state_of(build: Path) -> tuple[int, int] | None:
    try:
        found = (build / "manifest.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
