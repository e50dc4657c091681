"""`cortex-compile package`: the build context of an image with a build, Triton and the facade in it."""

from __future__ import annotations

import platform
from pathlib import Path

import click

from cortex_compile.errors import UsageError

__all__ = ["package"]


@click.command(short_help="Write a Dockerfile and all that an image of a build needs.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="The folder to write. Default: BUILD-image.")
@click.option("--image", "base", help="The Triton image to build on; NAME@sha256:… pins it.  [default: NVIDIA's 26.06]")
@click.option(
    "--python",
    default="3.12",
    show_default=True,
    metavar="3.N",
    help="The Python of that image, for which the requirements are locked.",
)
@click.option(
    "--wheels", "all_wheels", is_flag=True, help="Put every wheel into the folder: no network at docker build."
)
@click.option("--check", is_flag=True, help="Build the image with the Docker engine of this machine and ask it.")
def package(build: Path, output: Path | None, base: str | None, python: str, all_wheels: bool, check: bool) -> None:
    """Write the build context of an image: Triton, the HTTP facade, the build, and what its requirements lock to.

    Versions are those installed here, since with these the answers were compared. The image runs as a user who is not
    root, and only the facade listens outside it. compose.yaml runs Triton and the facade as two services.
    """
    from cortex_compile.launchers.docker_context import ImagePlan, write_context
    from cortex_compile.launchers.docker_engine import DEFAULT_IMAGE, MACHINES
    from cortex_compile.launchers.docker_lock import Target

    machine = platform.machine()
    if machine not in MACHINES:
        raise UsageError(f"Triton's images are for {' and '.join(MACHINES)}; this machine is {machine!r}")
    major, _, minor = python.partition(".")
    if major != "3" or not minor.isdecimal():
        raise UsageError(f"--python {python!r}: expected a version of Python with two numbers, as in 3.12")
    build = Path(build.absolute())
    plan = ImagePlan(build, base or DEFAULT_IMAGE, Target(python, machine), all_wheels)
    click.echo("Locking the requirements with pip …", err=True)
    context = write_context(plan, output or build.with_name(f"{build.name}-image"))
    click.echo(f"{context.folder}: {context.packages} packages locked, FROM {plan.base}")
    if check:
        from cortex_compile.cli.package_check import check_image

        check_image(context, build)
    else:
        click.echo(f"  docker build --tag {context.tag} {context.folder}", err=True)
        click.echo(f"  docker compose --project-directory {context.folder} up --build", err=True)
