from __future__ import annotations

from pathlib import Path

import pytest

from cortex_compile.compiler.predict_kind import may_stream


@pytest.mark.parametrize(
    ("predict", "expected"),
    [
        ("def predict(self): yield 1", True),
        ("async def predict(self): yield 1", True),
        ("def predict(self): yield from [1]", True),
        ("def predict(self): return 1", False),
        ("async def predict(self): return 1", False),
        ("def predict(self): return (x for x in [1])", False),
        ("def predict(self):\n        def inner(): yield 1\n        return list(inner())", False),
        ("def other(self): yield 1", False),
        ("def predict(self) yield 1", False),
    ],
)
def test_kinds(tmp_path: Path, predict: str, expected: bool) -> None:
    file = tmp_path / "predictor.py"
    file.write_text(f"def predict(): yield\n\nclass PythonPredictor:\n    {predict}\n")
    assert may_stream(file) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from starlette.responses import JSONResponse, StreamingResponse", True),
        ("import fastapi.responses as r\nclass PythonPredictor:\n def predict(s): r.StreamingResponse", True),
        ("from starlette.responses import JSONResponse\n# StreamingResponse", False),
        ("text = 'StreamingResponse'", False),
    ],
)
def test_responses_that_stream(tmp_path: Path, source: str, expected: bool) -> None:
    file = tmp_path / "predictor.py"
    file.write_text(source)
    assert may_stream(file) is expected


def test_another_class_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "predictor.py"
    file.write_text("class Other:\n    def predict(self): yield 1\n\nclass PythonPredictor:\n    predict = 1\n")
    assert not may_stream(file)
    assert not may_stream(tmp_path / "nowhere.py")
