"""The command as a process: what it imports, which subcommand it finds, what it says and returns when things fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cortex_compile.cli.main import _COMMANDS, main

# The real command, with one subcommand more that fails in the way it is told to.
_WITH_FAILING_COMMAND = """
import click, os, signal, sys
from cortex_compile.cli import main as frame
from cortex_compile.errors import BuildError

@click.command()
@click.argument("how")
@click.pass_context
def fail(context, how):
    if how == "known":
        raise BuildError("the build 'x' is [bold]damaged[/bold]; copy it again")
    if how == "unknown":
        raise ZeroDivisionError("a secret of the user's")
    if how == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    if how == "code":
        context.exit(7)
    if how == "say":
        print("one word")
    if how == "talk":
        for line in range(100_000):
            print(line)

sys.modules["failing"] = type(sys)("failing")
sys.modules["failing"].fail = fail
frame._COMMANDS["fail"] = ("failing:fail", "Fail.")
frame.main(prog_name="cortex-compile")
"""


def _run(*arguments: str, code: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "cortex_compile"]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code = """
import sys
from cortex_compile.cli.main import main
try:
    main(["--help"], prog_name="cortex-compile")
finally:
    heavy = {"torch", "numpy", "fastapi", "starlette", "uvicorn", "tritonclient", "grpc", "httpx", "rich", "pydantic"}
    print("imported:", sorted(heavy & set(sys.modules)))
"""
    answer = _run(code=code)
    assert answer.returncode == 0
    assert "imported: []" in answer.stdout
    for command in ("compile", "serve", "predict", "inspect", "doctor", "install-server"):
        assert f"\n  {command} " in answer.stdout


def test_no_arguments_prints_the_help() -> None:
    answer = _run()
    assert answer.returncode == 0
    assert answer.stdout == _run("--help").stdout
    assert answer.stderr == ""


def test_version() -> None:
    assert _run("--version").stdout.split()[-1] == "0.1.0"


@pytest.mark.parametrize("name", _COMMANDS)
def test_the_line_in_the_help_is_the_command_s_own(name: str) -> None:
    command = main.get_command(main.make_context("cortex-compile", []), name)
    assert command is not None
    assert command.get_short_help_str(100) == _COMMANDS[name][1]


def test_unknown_command_names_the_nearest() -> None:
    answer = _run("serv")
    assert answer.returncode == 2
    assert answer.stderr == "error: no such command or file: 'serv'; did you mean 'serve'?\n"
    assert answer.stdout == ""


def test_unknown_command_without_a_near_one_names_all() -> None:
    assert "the commands are compile, serve, predict" in _run("zzz").stderr


_PRINTING_COMPILE = """
import sys, click
module = type(sys)("cortex_compile.cli.compile")
@click.command()
@click.option("--device")
@click.option("--no-compile", is_flag=True)
@click.argument("words", nargs=-1)
def compile_command(words, device, no_compile):
    print("compile", words, device, no_compile)
module.compile_command = compile_command
sys.modules["cortex_compile.cli.compile"] = module
from cortex_compile.cli.main import main
main()
"""


@pytest.mark.parametrize("path", ["missing.py", "some/missing-file", "there.txt"])
def test_a_file_in_the_command_s_place_is_compiled(path: str, tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("")
    path = str(tmp_path / path) if path == "there.txt" else path
    answer = _run(path, "more", code=_PRINTING_COMPILE)
    assert answer.stdout == f"compile ({path!r}, 'more') None False\n"


@pytest.mark.parametrize("options", [["--device", "cpu", "--no-compile"], ["--debug", "--no-compile", "--device=cpu"]])
def test_options_may_stand_before_a_bare_file(options: list[str]) -> None:
    answer = _run(*options, "some/predictor.py", code=_PRINTING_COMPILE)
    assert answer.stdout == "compile ('some/predictor.py',) cpu True\n", answer.stderr


def test_an_option_of_nobody_s_is_still_told() -> None:
    answer = _run("--devise", "cpu")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: No such option '--devise'")


def test_known_error_is_one_line_with_its_exit_code() -> None:
    answer = _run("fail", "known", code=_WITH_FAILING_COMMAND)
    assert answer.returncode == 1
    assert answer.stderr == "error: the build 'x' is [bold]damaged[/bold]; copy it again\n"


def test_known_error_is_never_wrapped() -> None:
    code = _WITH_FAILING_COMMAND.replace("damaged", "word " * 60)
    assert _run("fail", "known", code=code, COLUMNS="40").stderr.count("\n") == 1


def test_usage_error_exits_with_2() -> None:
    answer = _run("fail", "--nothing", code=_WITH_FAILING_COMMAND)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: No such option '--nothing'.")
    assert "Try 'cortex-compile fail --help'." in answer.stderr


def test_unexpected_exception_says_where_the_traceback_is(tmp_path: Path) -> None:
    answer = _run("fail", "unknown", code=_WITH_FAILING_COMMAND, XDG_CACHE_HOME=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "ZeroDivisionError" in answer.stderr
    assert "a secret of the user's" not in answer.stderr
    path = Path(answer.stderr.split()[-1])
    assert path.is_relative_to(tmp_path)
    assert "ZeroDivisionError: a secret of the user's" in path.read_text()


def test_unexpected_exception_without_a_cache_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = _run("fail", "unknown", code=_WITH_FAILING_COMMAND, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert answer.returncode == 1
    assert "could not be written" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(("arguments", "value"), [(["--debug"], ""), ([], "1")])
def test_debug_shows_the_traceback(arguments: list[str], value: str, tmp_path: Path) -> None:
    answer = _run(
        *arguments,
        "fail",
        "unknown",
        code=_WITH_FAILING_COMMAND,
        CORTEX_COMPILE_DEBUG=value,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert "Traceback (most recent call last)" in answer.stderr


def test_interrupted_quietly() -> None:
    answer = _run("fail", "interrupted", code=_WITH_FAILING_COMMAND)
    assert answer.returncode == 128 + signal.SIGINT
    assert answer.stderr.strip() == ""


def test_exit_code_of_a_command() -> None:
    assert _run("fail", "code", code=_WITH_FAILING_COMMAND).returncode == 7


def test_a_closed_pipe_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_FAILING_COMMAND, "fail", "talk"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_a_pipe_that_was_closed_before_a_word_was_written() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        answer = subprocess.run(
            [sys.executable, "-c", _WITH_FAILING_COMMAND, "fail", "say"],
            env={**os.environ, "PYTHONUNBUFFERED": ""},  # so that the word is written at the end
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (1, "")
