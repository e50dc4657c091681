"""benchmarks/results/chaos.json: a row for each fault, written as soon as it is there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from .stage import Check, Row

__all__ = ["put_row", "read_rows"]

FILE = Path(__file__).parents[1] / "results" / "chaos.json"


def read_rows() -> dict[str, Row]:
    if not FILE.exists():
        return {}
    rows = json.loads(FILE.read_text())
    return {
        name: Row(**{**row, "name": name, "checks": [Check(**check) for check in row["checks"]]})
        for name, row in rows.items()
    }


def put_row(row: Row) -> None:
    rows = {**read_rows(), row.name: row}
    told = {name: {key: value for key, value in asdict(each).items() if key != "name"} for name, each in rows.items()}
    FILE.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
