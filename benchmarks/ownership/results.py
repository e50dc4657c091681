"""benchmarks/results/ownership.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Proof", "put_proof", "read_proof"]

FILE = Path(__file__).parents[1] / "results" / "ownership.json"


@dataclass(frozen=True)
class Proof:
    """``wrong`` are requests that got another's answer, ``lost`` those that got none; ``left`` gave up themselves."""

    requests: int
    clients: int
    answered: int
    left: int
    wrong: int
    lost: int
    seconds: int


def put_proof(proof: Proof) -> None:
    FILE.write_text(json.dumps(asdict(proof), indent=1) + "\n")


def read_proof() -> Proof | None:
    return Proof(**json.loads(FILE.read_text())) if FILE.exists() else None
