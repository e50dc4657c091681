"""The rows of the zoo, architectures.yaml and by_hand.yaml, and the project that some of them become."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ZOO = Path(__file__).parent

# What the predictor is watched answering, and what it is asked when it is compiled: other sizes, other values.
SAMPLES = ({"seed": 1, "batch": 1, "length": 9}, {"seed": 2, "batch": 2, "length": 14})
UNSEEN = (
    {"seed": 11, "batch": 1, "length": 9},
    {"seed": 12, "batch": 1, "length": 12},
    {"seed": 13, "batch": 3, "length": 6},
    {"seed": 14, "batch": 2, "length": 31},
    {"seed": 15, "batch": 4, "length": 10},
)


@dataclass(frozen=True)
class Row:
    """``module`` is the path of the main module; ``stays_eager`` are words of the reason for which it must stay eager,
    where a graph would answer wrongly. ``architecture`` is None for a predictor written by hand."""

    name: str
    kind: str
    about: str
    module: str = "predictor.net"
    stays_eager: str | None = None
    compile: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] | None = None


def read_rows() -> dict[str, Row]:
    architectures = yaml.safe_load((ZOO / "architectures.yaml").read_text())["rows"]
    by_hand = yaml.safe_load((ZOO / "by_hand.yaml").read_text())
    rows = [Row(name, "by hand", **row) for name, row in by_hand.items()]
    rows += [
        Row(
            name,
            row["kind"],
            row["model"],
            f"predictor.nets[{name!r}]",
            # ViLT shuffles the patches of an image, in any mode.
            stays_eager=row.get("stays_eager"),
            architecture=row,
        )
        for name, row in architectures.items()
    ]
    return {row.name: row for row in rows}


def write_project(rows: Sequence[Row], folder: Path) -> None:
    """What a user would have: predictor.py and what it imports, cortex.yaml, two samples a row.

    Several architectures are models of one predictor, since starting processes is most of a row's time; a predictor
    written by hand is a project of its own.
    """
    own = rows[0].architecture is None
    predictor = ZOO / "by_hand" / f"{rows[0].name}.py" if own else ZOO / "project" / "predictor.py"
    shutil.copy(predictor, folder / "predictor.py")
    shutil.copy(ZOO / "project" / "zoo_inputs.py", folder)
    config = {} if own else {row.name: row.architecture for row in rows}
    api: dict[str, Any] = {
        "name": rows[0].name.replace("_", "-"),
        "kind": "RealtimeAPI",
        "predictor": {"type": "python", "path": "predictor.py", "config": config},
    }
    if rows[0].compile:
        api["compile"] = rows[0].compile
    (folder / "cortex.yaml").write_text(yaml.safe_dump([api]))
    for row in rows:
        for number, payload in enumerate(SAMPLES):
            (folder / f"sample-{row.name}-{number}.json").write_text(json.dumps({"row": row.name, **payload}))
