"""benchmarks/results/soak.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .growth import Held

__all__ = ["Soak", "put_soak", "read_soak"]

FILE = Path(__file__).parents[1] / "results" / "soak.json"


@dataclass(frozen=True)
class Soak:
    """What came of it. ``growth`` are shares, of what its key names; ``held`` is what the server held, at times."""

    requests: int
    answered: int
    left: int
    wrong: list[str]
    lost: list[str]
    seconds: float
    growth: dict[str, float]
    held: list[Held]


def put_soak(soak: Soak) -> None:
    FILE.write_text(json.dumps(asdict(soak), indent=1) + "\n")


def read_soak() -> Soak | None:
    if not FILE.exists():
        return None
    found = json.loads(FILE.read_text())
    return Soak(**{**found, "held": [Held(**each) for each in found["held"]]})
