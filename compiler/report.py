"""report.json and report.html: what was tried, with numbers, and why it was chosen or refused."""

from __future__ import annotations

import json
from pathlib import Path

from cortex_compile.compiler.artifacts import REPORT_VERSION, Report
from cortex_compile.errors import BuildError
from cortex_compile.python_backend.records import from_json, to_json

__all__ = ["read_report", "write_report"]


def write_report(report: Report, folder: Path) -> None:
    from cortex_compile.compiler.report_html import render_report

    text = json.dumps(to_json(report), indent=2)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.html").write_text(render_report(report), encoding="utf-8")


def read_report(folder: Path) -> Report:
    """
    Raises:
        BuildError: the folder has no report.json, or it is not one that this release reads.
    """
    path = folder / "report.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BuildError(f"{folder}: has no report.json. Compile again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BuildError(f"{path}: cannot be read ({error}). Compile again.") from error
    found = value.get("version") if isinstance(value, dict) else None
    if found != REPORT_VERSION:
        expected = f"this release reads version {REPORT_VERSION}"
        raise BuildError(f"{path}: version {found!r:.80}, {expected}. Compile again.")
    try:
        return from_json(Report, value)
    except ValueError as error:
        raise BuildError(f"{path}: {error}. Compile again.") from error
