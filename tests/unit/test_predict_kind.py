from __future__ import annotations

from pathlib import Path

import pytest

from cortex_compile.compiler.predict_kind import is_predict_generator


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
    assert is_predict_generator(file) is expected


def test_another_class_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "predictor.py"
    file.write_text("class Other:\n    def predict(self): yield 1\n\nclass PythonPredictor:\n    predict = 1\n")
    assert not is_predict_generator(file)
    assert not is_predict_generator(tmp_path / "nowhere.py")
