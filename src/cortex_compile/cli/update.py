"""`cortex-compile update` and `rollback`: another build for a server that runs, without a request being lost."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import click

from cortex_compile.cli.updates import ROLLBACK, UPDATE
from cortex_compile.errors import UsageError

__all__ = ["rollback", "update", "update_server"]


@click.command(short_help="Have a server that runs go over to another build.")
@click.argument("url", metavar="URL")
@click.argument("build", metavar="BUILD", type=click.Path(path_type=Path))
def update(url: str, build: Path) -> None:
    """Have the server at URL, started by `cortex-compile serve` on this machine, go over to BUILD.

    It takes the place of the build of the same name once it has loaded and answered its samples; until then, and if it
    does not, the other one answers. No request is lost.
    """
    update_server(url, build)
    click.echo(f"{url} serves {build}.")


@click.command(short_help="Have a server go back to the build before an update.")
@click.argument("url", metavar="URL")
@click.argument("name", metavar="NAME")
def rollback(url: str, name: str) -> None:
    """Have the server at URL go back to the build of the API NAME that it served before the last update."""
    _ask(url, {"command": ROLLBACK, "name": name})
    click.echo(f"{url} serves the build of {name!r} before the last update.")


def update_server(url: str, build: Path) -> None:
    """
    Raises:
        CortexCompileError: the build was refused, and the one before it is served on; or no server takes commands.
    """
    _ask(url, {"command": UPDATE, "build": str(build.absolute())})


def _ask(url: str, command: dict[str, str]) -> None:
    from cortex_compile.launchers.control_socket import ask_launcher

    ask_launcher(_port_of(url), command, lambda step: click.echo(step, err=True))


def _port_of(url: str) -> int:
    address = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = address.port or {"http": 80, "https": 443}.get(address.scheme)
    except ValueError:
        port = None
    if port is None or not address.hostname:
        raise UsageError(f"{url!r} is no address of a server; expected one as http://127.0.0.1:8888")
    if not _is_this_machine(address.hostname):
        raise UsageError(
            f"{url!r}: only whoever started a server may update it, on the machine where it runs; ask there, as"
            f" http://127.0.0.1:{port}"
        )
    return port


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
