"""What is served and asked in the soak: examples, compiled as a user does it, and the predictor of the chaos."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ownership.load import Question
from benchmarks.ownership.questions import questions as unique_questions

__all__ = ["build_examples", "endless_questions"]

_ROOT = Path(__file__).parents[2]
_CLOSE = 1e-3


def _irises(chance: random.Random) -> dict[str, Any]:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    return {name: round(chance.uniform(0.5, 7.0), 2) for name in names}


def _beginnings(chance: random.Random) -> dict[str, Any]:
    return {"text": chance.choice(("When the onion", "To make the", "Put it")), "max_tokens": chance.randint(1, 8),
            "seed": chance.randrange(1000)}  # fmt: skip


_EXAMPLES: dict[str, Callable[[random.Random], Any]] = {
    "iris-classifier": _irises,
    "token-streamer": _beginnings,
}
_DIFFERENT = 200


def build_examples() -> dict[str, Path]:
    builds = {}
    for name in _EXAMPLES:
        builds[name] = _ROOT / "build" / "soak" / name
        words = [str(_ROOT / "examples" / name / "predictor.py"), "--output", str(builds[name])]
        subprocess.run([sys.executable, "-m", "cortex_compile", *words], check=True, capture_output=True, text=True)
    return builds


def endless_questions(examples: Mapping[str, Path], seed: int) -> Iterator[Question]:
    """Half of them to the examples, with the answers of the predictor in plain Python; half as for ownership."""
    chance = random.Random(seed)
    known = [question for name, build in examples.items() for question in _known(name, build, chance)]
    unique = unique_questions(10**9, ["near", "far"], seed)
    while True:
        yield chance.choice(known)
        yield next(unique)


def _known(name: str, build: Path, chance: random.Random) -> list[Question]:
    bodies = [json.dumps(_EXAMPLES[name](chance)) for _ in range(_DIFFERENT)]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "answers.json"
        words = ["-m", "benchmarks.soak.plain_answers", str(build), str(file)]
        subprocess.run([sys.executable, *words], input=json.dumps(bodies), text=True, check=True, capture_output=True)
        answers = json.loads(file.read_text())
    return [Question(f"/{name}", body.encode(), _is_like(answer)) for body, answer in zip(bodies, answers, strict=True)]


def _is_like(answer: str) -> Callable[[int, bytes], bool]:
    expected = _value(answer)
    return lambda status, body: status == 200 and _are_close(_value(body.decode()), expected)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _are_close(found: Any, expected: Any) -> bool:
    """Equal, but for the last digits of numbers."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=_CLOSE, abs_tol=_CLOSE)
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        return found.keys() == expected.keys() and all(_are_close(found[key], expected[key]) for key in found)
    if isinstance(found, Sequence) and isinstance(expected, Sequence) and not isinstance(found, str):
        return len(found) == len(expected) and all(map(_are_close, found, expected))
    return bool(found == expected)
