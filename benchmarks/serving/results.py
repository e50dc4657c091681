"""benchmarks/results/serving.json: each cell is written as soon as it is there, so that a stopped run goes on."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .measure import Cell
from .peer_servers import Setting
from .processes import Memory

FILE = Path(__file__).parents[1] / "results" / "serving.json"

# What lies further apart is of another run, with other neighbours on the machine.
_TOGETHER_S = 3600


@dataclass
class Results:
    """Keys are words joined by a slash: workload, track, server and, of a cell, load. Values are by round."""

    file: Path
    cells: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    starts: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    settings: dict[str, dict[str, int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Why a server has no figures for a workload, by its key; or at all, by its name."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Of the machine, of versions, and what is measured once."""

    @classmethod
    def read(cls, file: Path) -> Results:
        return cls(file, **json.loads(file.read_text())) if file.exists() else cls(file)

    def write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(f".{os.getpid()}")
        kept = {name: value for name, value in vars(self).items() if name != "file"}
        temporary.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        temporary.rename(self.file)

    def put_cell(self, key: str, number: int, cell: Cell) -> None:
        self.cells.setdefault(key, {})[str(number)] = {"at": round(time.time()), **asdict(cell)}
        self.write()

    def put_start(self, key: str, number: int, first_answer_s: float, memory: Memory) -> None:
        self.starts.setdefault(key, {})[str(number)] = {"first_answer_s": round(first_answer_s, 2), **asdict(memory)}
        self.write()

    def put_setting(self, key: str, setting: Setting) -> None:
        self.settings[key] = asdict(setting)
        self.write()

    def setting(self, key: str) -> Setting | None:
        return Setting(**self.settings[key]) if key in self.settings else None

    def forget(self, place: str, loads: Sequence[str] | None = None) -> None:
        """What was measured of a server at this place, of these loads; or of all, and its setting."""
        self.refused.pop(place, None)
        if loads is None:
            self.starts.pop(place, None)
            self.settings.pop(place, None)
        for key in [key for key in self.cells if key.startswith(f"{place}/")]:
            if loads is None or key.removeprefix(f"{place}/") in loads:
                del self.cells[key]

    def median(self, key: str, figure: str) -> float | None:
        """Of a figure of a cell, or of a start, over the rounds."""
        rounds = self.cells.get(key) or self.starts.get(key) or {}
        values = [each[figure] for each in rounds.values()]
        return statistics.median(values) if values else None

    def ratio(self, key: str, other: str, figure: str) -> float | None:
        """The median of the first's figure in each round over the second's in the same round of one run."""
        rounds, others = self.cells.get(key, {}), self.cells.get(other, {})
        ratios = [
            rounds[number][figure] / others[number][figure]
            for number in rounds
            if number in others and _are_together(rounds[number], others[number])
        ]
        return statistics.median(ratios) if ratios else None

    def servers(self, workload: str, track: str, load: str) -> list[str]:
        """Those that have figures for this cell."""
        found = []
        for key in self.cells:
            words = key.split("/")
            if [*words[:2], words[3]] == [workload, track, load]:
                found.append(words[2])
        return found


def _are_together(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """``at`` is in seconds since 1970; what has none is as old as all that has none."""
    return abs(one.get("at", 0) - other.get("at", 0)) <= _TOGETHER_S
