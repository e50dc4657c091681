"""Which predictors may have requests under way at once: each that is refused does one thing that would go wrong."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.compiler import prove_turn
from cortex_compile.compiler.answer_samples import answer_question
from cortex_compile.compiler.artifacts import Sample
from cortex_compile.compiler.prove_turn import Answered, CallHook, why_not_passed
from cortex_compile.compiler.questions import Question
from cortex_compile.compiler.tolerances import Tolerance
from cortex_compile.python_backend.load_predictor import create_predictor, load_predictor_class
from cortex_compile.python_backend.turn import PassingSession

pytestmark = pytest.mark.usefixtures("process_as_before")

PREDICTOR = """
    import random
    import threading
    from pathlib import Path

    import numpy as np

    latest = None
    seen = []


    class Helper:
        def __init__(self):
            self.value = 0


    class PythonPredictor:
        count = 0

        def __init__(self, config):
            self.box = {"latest": 0}
            self.helper = Helper()
            self.scratch = np.zeros(1)
            self.local = threading.local()
            self.local.ready = True

        def model(self, x):
            (found,) = self.session.run([np.array([x])])
            return int(found[0])

        def predict(self, payload):
            x = payload["x"]
            %s
            return {"x": x}
"""

HARMLESS = {
    "a pure function": "x = self.model(self.model(x) + 1)",
    "state of the call alone": "own = [x]; own.append(self.model(own[0])); x = sum(own)",
    "what was written is written again, and nothing else": "x = self.model(x) + self.box.get('latest')",
    "a file of its own": "own = Path(f'{x}.txt'); own.write_text(str(x)); x = self.model(x) + int(own.read_text())",
}

HARMFUL = {
    "self.last = x; x = self.model(x) + self.last": "predictor.last is written",
    "self.last = x; x = self.model(x); del self.last": "predictor.last is written",
    "self.last = x; x = self.last; del self.last; x = self.model(x)": "predictor.last is written",
    "PythonPredictor.count += 1; x = self.model(x)": r"PythonPredictor.count is written",
    "global latest; latest = x; x = self.model(x) + latest": "latest is written",
    "global latest; latest = x; x = self.model(x); latest = None": "latest is written",
    "seen.append(x); x = self.model(x)": "seen is written",
    "self.box['latest'] = x; x = self.model(x)": r"predictor.box\['latest'\] is written",
    "self.helper.value = x; x = self.model(x)": "predictor.helper.value is written",
    "self.scratch[0] = x; x = self.model(x) + int(self.scratch[0])": "predictor.scratch is written",
    "x = self.model(x) + random.randrange(9)": "draws random numbers",
    "note = Path('note.txt'); note.write_text(str(x)); x = self.model(x) + int(note.read_text())": "answered otherwise",
    "x = self.model(x) if self.local.ready else 0": "answered otherwise: .*local",
}


class Doubling:
    """The compiled module."""

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        return [inputs[0] * 2]


def verdict(folder: Path, body: str, payloads: Sequence[int] = (3, 500, 70), repeats: bool = True) -> str | None:
    (folder / "predictor.py").write_text(textwrap.dedent(PREDICTOR) % body)
    loaded = load_predictor_class(folder, "predictor.py")
    predictor: Any = create_predictor(loaded, {})
    hook = CallHook()
    predictor.session = PassingSession(Doubling(), hook)
    samples = [Sample(f"{x}.json", json.dumps({"x": x}).encode(), "application/json") for x in payloads]
    answered = []
    for sample in samples:
        question = Question(sample.name, (sample,))
        answered.append(Answered(question, answer_question(predictor, loaded, question), repeats))
    return why_not_passed(predictor, loaded, answered, Tolerance(0.0, 0.0), hook, lambda: 0)


@pytest.fixture(autouse=True)
def in_the_project(tmp_path: Path, process_as_before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prove_turn, "_BUDGET_S", 0.3)


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_other_requests_cannot_disturb_is_proven(tmp_path: Path, body: str) -> None:
    assert verdict(tmp_path, body) is None


@pytest.mark.parametrize(("body", "reason"), HARMFUL.items(), ids=HARMFUL.keys())
def test_what_other_requests_would_disturb_is_refused(tmp_path: Path, body: str, reason: str) -> None:
    found = verdict(tmp_path, body)
    assert found is not None
    assert re.search(reason, found), found


def test_samples_must_be_told_apart(tmp_path: Path) -> None:
    assert "no two samples with different answers" in str(verdict(tmp_path, "x = self.model(x)", (3, 3)))
    assert "no two samples with different answers" in str(verdict(tmp_path, "x = self.model(x) * 0"))
    assert "not answered the same twice" in str(verdict(tmp_path, "x = self.model(x)", repeats=False))
    assert "no compiled module is called" in str(verdict(tmp_path, "x = x + 1"))


def test_a_lock_would_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "with self.box.setdefault('lock', threading.Lock()): x = self.model(x)"
    assert "is a lock" in str(verdict(tmp_path, body))
    monkeypatch.setattr(prove_turn, "find_lock", lambda *_: None)
    monkeypatch.setattr(prove_turn, "_PATIENCE", 0.5)
    assert "waits for another" in str(verdict(tmp_path, body))


def test_modules_that_run_eager_on_other_threads_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([0, 4])
    real = prove_turn.why_not_passed
    monkeypatch.setitem(globals(), "why_not_passed", lambda *parts: real(*parts[:-1], lambda: next(calls)))
    assert "ran eager" in str(verdict(tmp_path, "x = self.model(x)"))
