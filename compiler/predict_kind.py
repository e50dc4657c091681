"""Whether answers may come in chunks: told from the predictor's file alone, without running it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

__all__ = ["may_stream"]


def may_stream(file: Path) -> bool:
    """True if ``PythonPredictor.predict`` in this file holds a ``yield``, or the file names ``StreamingResponse``.

    What other files, a base class or a decorator bring in is not seen; nor is a file that cannot be compiled, which is
    told when it is loaded.
    """
    try:
        module = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return False
    return _names(module, "StreamingResponse") or any(
        predict.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
        for predictor in _inside(module, "PythonPredictor")
        for predict in _inside(predictor, "predict")
    )


def _names(code: CodeType, name: str) -> bool:
    """Imports it, or reads it as a global or an attribute."""
    return name in code.co_names or any(_names(inner, name) for inner in _inside(code))


def _inside(code: CodeType, name: str | None = None) -> Iterator[CodeType]:
    """Functions and classes that are defined in there."""
    return (item for item in code.co_consts if isinstance(item, CodeType) and name in (None, item.co_name))
