"""ARCHITECTURE.md speaks of every file, and of none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
# predictor.py and compiler.py are the user's.
MENTIONED = set(re.findall(r"[\w./]*\w\.py\b", TEXT)) - {"predictor.py", "compiler.py"}


def sources() -> list[Path]:
    folders = ["backends", "compiler", "facade", "launchers", "model_repo_template", "python_backend", "src"]
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [path.relative_to(ROOT) for path in paths if path.name not in ("__init__.py", "__main__.py")]


def test_every_file_has_its_place_in_the_story() -> None:
    told = tuple(f"/{name}" for name in MENTIONED)
    assert [str(path) for path in sources() if not f"/{path}".endswith(told)] == []


def test_every_file_that_is_spoken_of_is_there() -> None:
    there = [f"/{path}" for path in sources()]
    assert [name for name in sorted(MENTIONED) if not any(path.endswith(f"/{name}") for path in there)] == []
