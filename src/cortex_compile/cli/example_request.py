"""A request to show people: the first sample that a build was compiled with, where the build still has it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.content_types import content_type_of, split_query
from cortex_compile.python_backend.names import is_inside

__all__ = ["ExampleRequest", "curl_line", "first_sample", "samples_of"]

_SHOWN_BYTES = 500


@dataclass(frozen=True)
class ExampleRequest:
    """A sample file of a build, and the query string it was asked with."""

    path: Path
    query: str
    content_type: str
    name: str
    status_code: int
    """What it was answered with when the build was compiled."""

    def text(self) -> str | None:
        """The body, where a person can read it at a glance."""
        body = self.path.read_bytes()
        if len(body) > _SHOWN_BYTES or not (self.content_type.startswith("text/") or "json" in self.content_type):
            return None
        try:
            return body.decode().strip()
        except UnicodeDecodeError:
            return None


def first_sample(build: Path, name: str) -> ExampleRequest | None:
    """The first sample that the report of a build names and the build's project holds."""
    return next(iter(samples_of(build, name)), None)


def samples_of(build: Path, name: str) -> list[ExampleRequest]:
    """The samples that the report of a build names and the build's project holds."""
    try:
        samples = json.loads((build / "report.json").read_text())["samples"]
        answered = [(str(sample["name"]), int(sample.get("status_code", 200))) for sample in samples]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []  # a build serves without its report
    found = []
    for name_of_sample, status_code in answered:
        relative, query = split_query(name_of_sample)
        path = build / "model_repository" / name / "1" / "project" / relative
        # What it names is shown to whoever reads /docs, and nothing vouches for the report.
        if is_inside(relative) and path.is_file():
            found.append(ExampleRequest(path, query, content_type_of(path), name_of_sample, status_code))
    return found


def curl_line(url: str, example: ExampleRequest | None) -> str:
    """A command for a shell that asks for a prediction."""
    if example is None:
        return f"curl {shlex.quote(url)} -H 'content-type: application/json' -d '{{}}'"
    address = f"{url}?{example.query}" if example.query else url
    text = example.text()
    body = f"-d {shlex.quote(text)}" if text and "\n" not in text else _from_file(example.path)
    return f"curl {shlex.quote(address)} -H {shlex.quote(f'content-type: {example.content_type}')} {body}"


def _from_file(path: Path) -> str:
    return f"--data-binary {shlex.quote(f'@{path}')}"
