"""The whole table, and the document that it makes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from . import answers_table, class_table, later_table, requests_table, server_table
from .table import Row

__all__ = ["DOCUMENT", "ROWS", "document_text"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "cortex-compatibility.md"

ROWS: tuple[Row, ...] = (
    *class_table.ROWS,
    *requests_table.ROWS,
    *answers_table.ROWS,
    *server_table.ROWS,
    *later_table.ROWS,
)

_MARKS = {"same": "the same", "better": "**better**", "different": "**different**"}


def document_text() -> str:
    counts = Counter(row.kind for row in ROWS)
    proofs = sum(len(row.proofs) for row in ROWS)
    lines = [
        "# Compatibility with Cortex",
        "",
        "What Cortex 0.31 did with a `PythonPredictor`, and what happens here. `tests/contract` proves each row on a",
        "running server, facade and Triton as `cortex-compile serve` starts them.",
        f"{len(ROWS)} behaviours, by {proofs} requests, predictors and scenarios: {counts['same']} the same, "
        f"{counts['better']} better, {counts['different']} different.",
        "",
        "`scripts/write_compatibility` runs the proof and writes this file.",
    ]
    for area in dict.fromkeys(row.area for row in ROWS):
        lines += ["", f"## {area}", "", "| | Cortex 0.31 | here |", "|---|---|---|"]
        for row in ROWS:
            if row.area == area:
                here = f"{_MARKS[row.kind]}: {row.here}" if row.here else _MARKS[row.kind]
                lines.append(f"| {_cell(row.behaviour)} | {_cell(row.cortex)} | {_cell(here)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
