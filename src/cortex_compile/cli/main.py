"""The command's frame: finding the subcommand without importing the others, and saying what went wrong.

Nothing heavy is imported here: `--help` must answer at once, and most subcommands need a part of the package only.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from cortex_compile import __version__
from cortex_compile.cli.failures import exit_code_for
from cortex_compile.cli.interruption import take_presses_together
from cortex_compile.errors import UsageError

__all__ = ["main"]

# name: (module:attribute, the line that `--help` shows). Importing a module to ask it for its line would cost seconds.
_COMMANDS = {
    "compile": ("cortex_compile.cli.compile:compile_command", "Compile a predictor into a build that Triton serves."),
    "serve": ("cortex_compile.cli.serve:serve", "Serve builds on Triton, over HTTP."),
    "predict": ("cortex_compile.cli.predict:predict", "Send a sample to a build or to a URL."),
    "inspect": ("cortex_compile.cli.inspect:inspect_command", "Show what compiling a build found and decided."),
    "bench": ("cortex_compile.cli.bench:bench", "Measure a build or a URL under load."),
    "tune": ("cortex_compile.cli.tune:tune", "Find the fastest way to serve a build, by trials."),
    "update": ("cortex_compile.cli.update:update", "Have a server that runs go over to another build."),
    "rollback": ("cortex_compile.cli.update:rollback", "Have a server go back to the build before an update."),
    "package": ("cortex_compile.cli.package:package", "Write a Dockerfile and all that an image of a build needs."),
    "api-key": ("cortex_compile.cli.api_key:api_key", "Make an API key for `serve --api-keys`."),
    "doctor": ("cortex_compile.cli.doctor:doctor", "Check what this machine can compile and serve with."),
    "install-server": ("cortex_compile.cli.install_server:install_server", "Install the embedded Triton server."),
}
_COMPILABLE = (".py", ".yaml", ".yml")


class _Commands(click.Group):
    """The subcommands, imported when called; a file in a command's place means ``compile FILE``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let options stand before a bare file, too: they are ``compile``'s where they are not the group's own."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        first = next((index for index, word in enumerate(args) if word not in own), len(args))
        if args[first:] and args[first].startswith("-") and any(word.endswith(_COMPILABLE) for word in args[first:]):
            args = [*args[:first], "compile", *args[first:]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in _COMMANDS:
            return super().resolve_command(ctx, args)
        if _is_file(name):
            return super().resolve_command(ctx, ["compile", *args])
        raise UsageError(_no_such_command(name))

    def main(  # type: ignore[override]  # click's is overloaded for what it returns
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **more: Any
    ) -> Any:
        run = partial(super().main, args, prog_name, standalone_mode=False, **more)
        return _exit_after(run) if standalone_mode else run()


def _is_file(name: str) -> bool:
    """A path that is there, or that can only be meant as one: its absence is then the better message."""
    return name.endswith(_COMPILABLE) or "/" in name or Path(name).is_file()


def _no_such_command(name: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, _COMMANDS, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"the commands are {', '.join(_COMMANDS)}."
    return f"no such command or file: {name!r}; {hint}"


def _exit_after(run: Callable[[], Any]) -> NoReturn:
    take_presses_together()
    try:
        result = run()  # of `context.exit(code)` click returns the code; our commands return nothing
        sys.stdout.flush()
    except BaseException as error:
        code = exit_code_for(error)
        if isinstance(error, BrokenPipeError):
            # What is left in the buffer cannot be written; without this, Python says so once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="COMMAND | PREDICTOR.py [ARGS]…",
)
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks. CORTEX_COMPILE_DEBUG=1 does the same.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Compile a Cortex predictor, unedited, and serve it on Triton.

    `cortex-compile predictor.py` is short for `cortex-compile compile predictor.py`; `cortex-compile cortex.yaml`
    compiles all APIs of that file.
    """
    if debug:
        os.environ["CORTEX_COMPILE_DEBUG"] = "1"  # the environment, so that child processes see it
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
