"""Whether predict is a generator function: told from the file alone, without running it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

__all__ = ["is_predict_generator"]


def is_predict_generator(file: Path) -> bool:
    """True if ``PythonPredictor.predict`` in this file holds a ``yield``, async or not.

    A predict that a decorator or a base class brings in is not seen; neither is one in a file that cannot be compiled,
    which is told when it is loaded.
    """
    try:
        module = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return False
    generators = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    return any(
        predict.co_flags & generators
        for predictor in _inside(module, "PythonPredictor")
        for predict in _inside(predictor, "predict")
    )


def _inside(code: CodeType, name: str) -> Iterator[CodeType]:
    return (item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == name)
