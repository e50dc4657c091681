"""Ask a build what it was not compiled on, and the predictor as it is: ``python -m benchmarks.zoo.compare``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cortex_compile.compiler.answer_samples import load_predictor, seed_everything
from cortex_compile.compiler.compare_tensors import worst_difference
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.calls import flatten
from cortex_compile.python_backend.exchange import exchange_cores
from cortex_compile.python_backend.manifest import read_manifest

from .rows import UNSEEN


@dataclass(frozen=True)
class RowComparison:
    """``excess`` is the worst difference in tolerances, ``difference`` the same as a number; ``wrong`` says where a
    result is not eager's."""

    excess: float
    difference: float
    wrong: str | None


@dataclass(frozen=True)
class Comparison:
    """``compiled`` and ``eager`` count the calls of each core, by path; ``states`` say why a core did not come up."""

    rows: dict[str, RowComparison]
    compiled: dict[str, int]
    eager: dict[str, dict[str, int]]
    states: dict[str, str]


def compare(folder: Path, build: Path, names: list[str]) -> Comparison:
    (project,) = read_projects(folder / "predictor.py", config=None, samples=(), name=None, settings_overrides={})
    loaded, predictor = load_predictor(project)
    expected = {name: _answers(predictor, name) for name in names}
    # A predictor of its own: the first may have kept something of what it answered.
    loaded, predictor = load_predictor(project)
    manifest = read_manifest(build / "manifest.json")
    version = build / "model_repository" / manifest.name / "1"
    cores = exchange_cores(predictor, loaded.module, manifest, version, None)
    rows = {name: _compare_row(mine, _answers(predictor, name)) for name, mine in expected.items()}
    return Comparison(
        rows,
        {core.path: core.counts.compiled for core in cores},
        {core.path: core.counts.eager for core in cores},
        {core.path: core.reason or core.state for core in cores},
    )


def _compare_row(expected: list[Any], found: list[Any]) -> RowComparison:
    excess = difference = 0.0
    wrong = None
    for payload, mine, theirs in zip(UNSEEN, expected, found, strict=True):
        if isinstance(mine, str) or isinstance(theirs, str):
            if mine != theirs:
                wrong = f"{payload}: {theirs if isinstance(theirs, str) else 'an answer'}, eager: {mine}"
            continue
        names = [f"result {number}" for number in range(len(mine))]
        worst = worst_difference(mine, theirs, names, Tolerances())
        if isinstance(worst, str):
            wrong = f"{payload}: {worst}"
            continue
        excess, difference = max((excess, difference), (worst.excess, worst.absolute))
        if worst.excess > 1:
            wrong = f"{payload}: {worst.where}{list(worst.index)} is {worst.found:.6g}, eager: {worst.expected:.6g}"
    return RowComparison(excess, difference, wrong)


def _answers(predictor: Any, name: str) -> list[list[Any] | str]:
    """For each request the tensors of the result, or the exception."""
    answers: list[list[Any] | str] = []
    for payload in UNSEEN:
        seed_everything()
        try:
            result = flatten(predictor.run({"row": name, **payload}))
            answers.append([tensor.detach().clone() for tensor in result.tensors])
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers


if __name__ == "__main__":
    found = compare(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4:])
    Path(sys.argv[3]).write_text(json.dumps(asdict(found)))
