"""``cortex-compile predictor.py``: compile each API of the file and say what came of it."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex_compile.cli.progress import show_progress

if TYPE_CHECKING:
    from cortex_compile.compiler.artifacts import Report


@click.command("compile")
@click.argument("predictor", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="cortex.yaml, or a JSON or YAML file of config alone.")
@click.option("--sample", "samples", multiple=True, metavar="FILE[?QUERY]", help="A request to learn from; may repeat.")
@click.option("--name", help="The API's name; picks one where cortex.yaml holds several.")
@click.option("--output", type=click.Path(path_type=Path), help="The build folder. Default: build/NAME.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="cpu: no GPU is seen while compiling.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16", "int8"]), help="Try this besides fp32.")
@click.option("--objective", type=click.Choice(["latency", "throughput"]), help="What the fastest engine is.")
@click.option(
    "--engine", "engines", multiple=True, metavar="NAME", help="Try only this engine (docs/engines.md); may repeat."
)
@click.option("--placement", type=click.Choice(["auto", "local", "remote"]), help="Where compiled modules run.")
@click.option("--only", metavar="PATH", help="Compile only this module, as the report names it.")
@click.option("--fresh", is_flag=True, help="Try everything again, whatever an earlier compile found.")
@click.option("--no-compile", is_flag=True, help="Write a build that runs the predictor as it is.")
@click.option("--tune", is_flag=True, help="Find the fastest way to serve the build, by trials under load.")
@click.option("--serve", is_flag=True, help="Serve the build when it is written.")
@click.option("--dry-run", is_flag=True, help="Do everything but write the build.")
@click.pass_context
def compile_command(
    context: click.Context,
    predictor: Path,
    config: Path | None,
    samples: tuple[str, ...],
    name: str | None,
    output: Path | None,
    device: str | None,
    precision: str | None,
    objective: str | None,
    engines: tuple[str, ...],
    placement: str | None,
    only: str | None,
    fresh: bool,
    no_compile: bool,
    tune: bool,
    serve: bool,
    dry_run: bool,
) -> None:
    """Compile a predictor into a build that Triton serves.

    In its place a cortex.yaml may be given: then each API of the file is compiled.
    """
    from cortex_compile.compiler.earlier_build import find_earlier_build
    from cortex_compile.compiler.pipeline import compile_predictor
    from cortex_compile.compiler.read_project import read_projects
    from cortex_compile.errors import UsageError

    overrides: dict[str, Any] = {
        "engines": engines or None,
        "placement": placement,
        "precision": precision,
        "objective": objective,
        "device": device,
        "compile": False if no_compile else None,
    }
    if tune and (dry_run or no_compile):
        raise UsageError("--tune tries ways to serve compiled modules; leave it out with --dry-run and --no-compile")
    projects = read_projects(predictor, config=config, samples=samples, name=name, settings_overrides=overrides)
    if output is not None and len(projects) > 1:
        names = ", ".join(project.name for project in projects)
        raise UsageError(f"--output names one build, and cortex.yaml has several APIs ({names}): pick one with --name")
    # Ended politely, a compile leaves nothing half-written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = _typed_command(predictor, config, samples, name)
    builds = []
    for project in projects:
        build = (output or Path("build") / project.name).absolute()
        for notice in project.notices:
            click.echo(f"{project.name}: {notice}", err=True)
        report = None if fresh or dry_run else find_earlier_build(project, build, only)
        if report is not None:
            _print_summary(report, build, "unchanged since it was compiled into")
        else:
            with show_progress(f"compile {project.name}") as tell:
                report = compile_predictor(
                    project, build, command=command, only=only, fresh=fresh, dry_run=dry_run, tell=tell
                )
            _print_summary(report, build, "" if dry_run else f"compiled in {report.seconds:.0f} s into")
        if tune and any(module.engine != "eager" for module in report.modules):
            _tune(build)
        elif tune:
            click.echo(f"{project.name}: nothing in it is compiled, so there is nothing for --tune to choose", err=True)
        builds.append(build)
    if serve and not dry_run:
        from cortex_compile.cli.serve import serve as serve_command

        context.invoke(serve_command, builds=tuple(builds))


def _tune(build: Path) -> None:
    from cortex_compile.cli.tune import tune_build
    from cortex_compile.cli.tune_table import print_tuning

    print_tuning(tune_build(build), _relative(build), dry_run=False)


def _typed_command(predictor: Path, config: Path | None, samples: tuple[str, ...], name: str | None) -> str:
    """A command that compiles the same again, whatever options it was typed with besides."""
    words = ["cortex-compile", str(predictor)]
    for option, value in (("--config", config), ("--name", name)):
        words += [option, str(value)] if value is not None else []
    for sample in samples:
        words += ["--sample", sample]
    return shlex.join(words)


def _print_summary(report: Report, build: Path, came_to_be: str) -> None:
    """``came_to_be`` says how the build got where it is; empty where none was written."""
    from rich.console import Console
    from rich.markup import escape

    from cortex_compile.compiler.report_words import answer_difference_in_words

    width = None if sys.stdout.isatty() else 200
    console = Console(highlight=False, soft_wrap=True, width=width)
    for module in report.modules:
        mark = "[green]compiled[/]" if module.engine != "eager" else "[yellow]eager[/]   "
        console.print(f"  {mark}  [bold]{escape(module.path)}[/]  {escape(module.decision)}")
    for sample in report.samples:
        faster = f"{sample.eager_p50_ms:.1f} → {sample.compiled_p50_ms:.1f} ms ({sample.speedup:.2f}×)"
        worst = f" ({escape(answer_difference_in_words(sample.worst))})" if sample.worst is not None else ""
        console.print(f"  sample    [bold]{escape(sample.name)}[/]  {faster}, answers equal{worst}")
    if not report.modules:
        console.print("  No torch module to compile: the predictor is served as it is.")
    if not came_to_be:
        console.print(f"{report.name}: {report.seconds:.0f} s, nothing written (--dry-run)")
        return
    shown = _relative(build)
    console.print(f"{report.name}: {came_to_be} [bold]{escape(str(shown))}[/]")
    console.print(f"  report    {escape(str(shown / 'report.html'))}")
    console.print(f"  serve it  cortex-compile serve {escape(shlex.quote(str(shown)))}")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
