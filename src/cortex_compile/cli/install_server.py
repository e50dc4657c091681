"""``cortex-compile install-server``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("install-server", short_help="Install the embedded Triton server.")
@click.option(
    "--wheel",
    type=click.Path(path_type=Path),
    help="Install from this file, the wheel of nvidia-pytriton 0.7.0, instead of from PyPI.",
)
def install_server(wheel: Path | None) -> None:
    """Fetch the tritonserver that `serve` runs without a container (55 MB, into the cache folder)."""
    from cortex_compile.launchers import install_server as installer

    folder = installer.server_folder()
    if folder.is_dir():
        click.echo(f"Already installed in {folder}")
        return
    click.echo(f"Installing tritonserver from {wheel or 'PyPI, ' + installer.PACKAGE} …", err=True)
    click.echo(f"Installed in {installer.install_server(wheel)}")
