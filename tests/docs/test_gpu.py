"""docs/gpu.md says what was run and nothing else; and what the check does without a GPU."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def benchmarks_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def test_the_page_is_what_the_results_say() -> None:
    from benchmarks.gpu.document import FILE, document_text
    from benchmarks.gpu.results import read_results

    assert FILE.read_text() == document_text(read_results())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_check_ends_at_once_and_says_why() -> None:
    before = (ROOT / "docs" / "gpu.md").read_bytes()
    run = subprocess.run([ROOT / "scripts" / "gpu_check"], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("gpu_check: nothing was run: torch ")
    assert run.stderr.count("\n") == 1
    assert (ROOT / "docs" / "gpu.md").read_bytes() == before


def found() -> Any:
    from benchmarks.gpu.results import ExampleRow, ModuleRow, Results, ScheduleRow

    return Results(
        "2000-01-02",
        ("NVIDIA X, 80 GiB, 9.0",),
        {"torch": "1.2"},
        {"tensorrt": "tensorrt is not installed"},
        (
            ModuleRow("encoder", "onnxruntime", 1, 2.0, 1.0, 0.25),
            ModuleRow("encoder", "onnxruntime", 64, 9.0, 6.0, 0.5),
        ),
        (ExampleRow("iris", 3, 2, 0.125, 1),),
        (ScheduleRow((1, 2), (200, 100)),),
    )


def test_results_are_told_as_they_are(tmp_path: Path) -> None:
    from benchmarks.gpu.document import document_text
    from benchmarks.gpu.results import read_results, write_results

    assert read_results(tmp_path / "gpu.json") is None
    write_results(found(), tmp_path / "gpu.json")
    assert read_results(tmp_path / "gpu.json") == found()
    text = document_text(found())
    assert "Nothing was run" not in text
    assert "- tensorrt: tensorrt is not installed" in text
    assert "encoder, onnxruntime; difference 50 %:" in text
    assert "| 1 | 2 | 1 | 2.00× |\n| 64 | 9 | 6 | 1.50× |" in text
    assert "| iris | 1 | 3 | 2 | 1.2e-01 |" in text
    assert "200 and 100 executions, 2.00 to 1." in text
    starved = replace(found(), schedule=(replace(found().schedule[0], executions=(9, 0)),))
    assert "9 and 0 executions, no turn at all for the second." in document_text(starved)
    assert "Nothing was run" in document_text(None)


@pytest.mark.parametrize(
    ("expected", "other", "difference"),
    [
        ({"a": [1.0, 200.0]}, {"a": [1.0, 201.0]}, 0.005),
        ({"a": "x"}, {"a": "y"}, float("inf")),
        ({"a": True}, {"a": 1}, 0.0),
        ([1, 2], [1], float("inf")),
        ({"a": 1}, {"b": 1}, float("inf")),
        ([1.0], ["1.0"], float("inf")),
        (None, None, 0.0),
    ],
)
def test_answers_are_compared_by_their_numbers(expected: Any, other: Any, difference: float) -> None:
    from benchmarks.gpu.serve import distance

    assert distance(expected, other) == difference


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [("application/json; charset=utf-8", b'{"a": 1}', {"a": 1}), ("text/plain", b"setosa", "setosa")],
)
def test_answers_are_json_or_text(content_type: str, body: bytes, expected: object) -> None:
    from benchmarks.gpu.serve import answer

    status = {"status_code": 200, "headers": [["content-type", content_type]]}
    outputs = {"response": body, "status": json.dumps(status).encode()}
    result = SimpleNamespace(as_numpy=lambda name: np.frombuffer(outputs[name], np.uint8))
    assert answer(SimpleNamespace(infer=lambda model, inputs: result), "iris", b"{}") == expected


def test_a_result_is_measured_by_what_is_tolerated() -> None:
    from benchmarks.gpu.measure import excess_of

    expected = torch.tensor([0.0, 9.9])
    assert excess_of(expected, expected + torch.tensor([1e-4, 0.0])) == pytest.approx(1.0, rel=1e-3)
    assert excess_of(expected, expected + torch.tensor([0.0, 0.005])) == pytest.approx(0.5, rel=1e-3)


def test_modules_of_the_check_answer_in_any_batch() -> None:
    from benchmarks.gpu.measure import MODULES

    for make, shape in MODULES.values():
        with torch.no_grad():
            (found,) = make().eval()(torch.zeros(2, *shape))
        assert found.shape[0] == 2
