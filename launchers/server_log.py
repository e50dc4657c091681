"""What tritonserver's log says of a start that failed, in the words of the user's own exception.

A model that does not load is one line of the log; what follows ``"`` is a JSON string::

    2026-11-22T10:54:29Z E 7635 model_lifecycle.cc:642] "failed to load 'NAME' version 1: Internal: ValueError: …
    \\n\\nAt:\\n  FILE(LINE): FUNCTION\\n  FILE(LINE): FUNCTION\\n"
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_FAILED = re.compile(r"""failed to load '(?P<model>.+?)' version \d+: (?P<reason>.*)""", re.DOTALL)
_FRAME = re.compile(r"^\s+(?P<file>.+)\((?P<line>\d+)\): (?P<function>.+)$", re.MULTILINE)
_DIED = re.compile(r"Stub process '.+' is not healthy")

# Raised by us with the user's file and line already in the message.
_OWN_ERRORS = ("PredictorError: ", "BuildError: ", "EngineError: ")


@dataclass(frozen=True)
class LoadFailure:
    """Why one model did not load: one line, with the line of code it comes from where there is one."""

    model: str
    reason: str


def read_load_failures(log: str) -> list[LoadFailure]:
    """Each model that did not load, with the exception that its code raised."""
    failures: dict[str, LoadFailure] = {}
    for line in log.splitlines():
        found = _FAILED.search(_message(line))
        if found:
            failures[found["model"]] = LoadFailure(found["model"], reason_in_the_users_words(found["reason"]))
    return list(failures.values())


def read_complaint(log: str) -> str:
    """What the server said before it ended, when no model is to blame: its first error, else its last line."""
    lines = [line for line in log.splitlines() if line.strip() and line[0] not in "|+\t "]
    usage = next((index for index, line in enumerate(lines) if line.startswith("Usage:")), None)
    if usage:  # an option that it does not take; what follows is its help
        return lines[usage - 1]
    for line in reversed(lines):
        if line.startswith("error: ") or re.search(r"Z E \d+ ", line):
            return _message(line).removeprefix("error: ")
    return _message(lines[-1]) if lines else "it said nothing"


def _message(line: str) -> str:
    """What a line of the log says, without the time and the place in tritonserver's source."""
    start = line.find('"')
    if start >= 0 and line.endswith('"'):
        try:
            return str(json.loads(line[start:]))
        except ValueError:
            return line
    return line


def reason_in_the_users_words(text: str) -> str:
    """One line for what Triton says of a model that does not load: the exception and the user's line of code."""
    text = re.sub(r"^[A-Z][A-Za-z ]*: ", "", text)  # Triton's own kind of error, as in "Internal: "
    said, _, frames = text.partition("\n\nAt:\n")
    said = " ".join(said.split())
    if _DIED.search(said):
        return "its Python process ended while it was starting (killed, out of memory, or it called exit)"
    for name in _OWN_ERRORS:
        if said.startswith(name):
            return said.removeprefix(name)
    frame = _users_frame(frames)
    return f"{said} ({frame})" if frame else said


def _users_frame(frames: str) -> str | None:
    """The innermost line of the user's project, else of the model, else of all. They are listed innermost first."""
    found = [(frame["file"], frame["line"]) for frame in _FRAME.finditer(frames)]
    for is_of_interest in (_is_of_a_project, _is_of_a_model, lambda _: True):
        for file, line in found:
            if is_of_interest(file):
                return f"{file}:{line}"
    return None


def _is_of_a_project(file: str) -> bool:
    return "project" in Path(file).parts and "model_repository" in Path(file).parts


def _is_of_a_model(file: str) -> bool:
    return "model_repository" in Path(file).parts
