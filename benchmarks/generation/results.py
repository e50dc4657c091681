"""benchmarks/results/generation.json: the rows of a model are written as soon as it was measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .project.models import MODELS

FILE = Path(__file__).parents[1] / "results" / "generation.json"


@dataclass(frozen=True)
class Row:
    """One model generating in one way on all inputs."""

    model: str
    way: str
    eager_tokens_s: float
    compiled_tokens_s: float
    ratio: float
    equal: int
    excused: int
    different: int
    distinct_tokens: int
    distinct_outputs: int
    ran_eager: int
    """Calls of a compiled module that no graph was proven for."""


@dataclass(frozen=True)
class Results:
    machine: dict[str, str | int]
    rows: tuple[Row, ...]


def read_results() -> Results:
    found = json.loads(FILE.read_text())
    return Results(found["machine"], tuple(Row(**row) for row in found["rows"]))


def write_rows(rows: Sequence[Row]) -> None:
    """In place of those of the same model, so that a run that ends early loses no other."""
    kept = read_results().rows if FILE.exists() else ()
    new = {row.model for row in rows}
    of_all = [*rows, *(row for row in kept if row.model not in new)]
    ordered = [asdict(row) for name in MODELS for row in of_all if row.model == name]
    FILE.write_text(json.dumps({"machine": _machine(), "rows": ordered}, indent=2) + "\n")


def _machine() -> dict[str, str | int]:
    import onnxruntime
    import torch
    import transformers

    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
