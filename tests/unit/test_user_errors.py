"""What the log shows of an exception: the way through the user's files, and nothing of ours."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from cortex_compile.python_backend.errors import PredictorError
from cortex_compile.python_backend.load_predictor import create_predictor, load_predictor_class
from cortex_compile.python_backend.user_errors import user_traceback

PREDICTOR = """
import json

class PythonPredictor:
    def __init__(self, config): ...

    def predict(self, payload):
        return json.loads(payload)
"""


def test_a_traceback_begins_where_the_user_does(tmp_path: Path) -> None:
    (tmp_path / "predictor.py").write_text(PREDICTOR)
    predictor = create_predictor(load_predictor_class(tmp_path, "predictor.py"), {})
    with pytest.raises(ValueError, match="Expecting") as caught:
        predictor.predict("{")  # type: ignore[attr-defined]
    # As where what a stream's own code raised is told as a PredictorError.
    wrapped = PredictorError("told")
    wrapped.__cause__ = caught.value
    for error in (caught.value, wrapped):
        found = user_traceback(error, tmp_path)
        assert found is not None
        assert found[:2] == (type(caught.value), caught.value)
        files = [frame.filename for frame in traceback.extract_tb(found[2])]
        assert files[0] == str(tmp_path / "predictor.py")
        assert "json" in files[-1]


def test_what_never_was_the_users_has_none(tmp_path: Path) -> None:
    with pytest.raises(TypeError) as caught:
        raise TypeError("ours")
    assert user_traceback(caught.value, tmp_path) is None
