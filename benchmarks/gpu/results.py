"""benchmarks/results/gpu.json: what one run of the check found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).parents[1] / "results" / "gpu.json"


@dataclass(frozen=True)
class ModuleRow:
    """A module at one batch size on one engine: medians of device times, and how far from the CPU's results."""

    module: str
    engine: str
    batch: int
    eager_ms: float
    compiled_ms: float
    excess: float
    """Of what is tolerated, 1e-4 + 1e-3 of the value; of eager's TF32 nothing is in it."""


@dataclass(frozen=True)
class ExampleRow:
    """An example served with its cores on the GPU: its answers against those of the same build on the CPU."""

    example: str
    requests: int
    equal: int
    worst: float
    compiled_modules: int


@dataclass(frozen=True)
class ScheduleRow:
    """Two APIs that both always have requests waiting."""

    priorities: tuple[int, int]
    executions: tuple[int, int]


@dataclass(frozen=True)
class Results:
    date: str
    gpus: tuple[str, ...]
    versions: dict[str, str]
    missing: dict[str, str]
    modules: tuple[ModuleRow, ...] = ()
    examples: tuple[ExampleRow, ...] = ()
    schedule: tuple[ScheduleRow, ...] = ()


def read_results(file: Path = FILE) -> Results | None:
    if not file.exists():
        return None
    value = json.loads(file.read_text())
    return Results(
        value["date"],
        tuple(value["gpus"]),
        value["versions"],
        value["missing"],
        tuple(ModuleRow(**row) for row in value["modules"]),
        tuple(ExampleRow(**row) for row in value["examples"]),
        tuple(ScheduleRow(tuple(row["priorities"]), tuple(row["executions"])) for row in value["schedule"]),
    )


def write_results(results: Results, file: Path = FILE) -> None:
    file.write_text(json.dumps(asdict(results), indent=1) + "\n")
