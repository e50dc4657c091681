"""What the documents tell people to type is there, and the figures are those of a run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
COMMAND = Path(sys.executable).with_name("cortex-compile")


def commands_of(document: str) -> list[list[str]]:
    """The words of each command in the document's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [
        shlex.split(part.replace("<", "'<").replace(">", ">'"), comments=True)
        for line in lines
        for part in line.split(" && ")
    ]


def run_command(*words: str) -> str:
    run = subprocess.run([str(COMMAND), *words], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_readme_has_commands() -> None:
    programs = {words[0] for words in commands_of("README.md")}
    assert {"make", "cortex-compile", "pip"} <= programs


def test_every_command_in_the_readme_exists() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = run_command("--help")
    for program, *words in commands_of("README.md"):
        if program == "make":
            assert set(words) <= set(targets)
        elif program == "cortex-compile" and not words[0].endswith(".py"):
            assert re.search(rf"^\s+{words[0]}\s", listed, re.MULTILINE), words
        else:
            assert program in ("pip", "git", "cd", "cortex-compile"), program


def test_every_option_that_is_spoken_of_exists() -> None:
    spoken_of = set(re.findall(r"`(--[a-z-]+)", (ROOT / "README.md").read_text() + (ROOT / "CHANGELOG.md").read_text()))
    listed = "".join(run_command(command, "--help") for command in ("compile", "serve", "bench", "package"))
    assert "--sample" in spoken_of
    assert [option for option in sorted(spoken_of) if not re.search(rf"{option}\b", listed)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_within_the_repository_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_script_and_target_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make (\w+)", text)) <= set(targets)
    named = re.findall(r"`(scripts/\w+|\.ci/run)", text)
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_figures_in_the_readme_are_those_of_the_run_that_is_kept() -> None:
    writer = load_script("write_readme")
    text = (ROOT / "README.md").read_text()
    written = text.split(writer.BEGIN)[1].split(writer.END)[0].strip()
    assert written == "\n".join(writer.table_of(json.loads(writer.KEPT.read_text())))
