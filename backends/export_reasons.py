"""Why torch could not export a module, in words that its author can act on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["explain_export_failure"]

_LONGEST = 500
_DATA_DEPENDENT = re.compile(r"data-dependent|dynamic shape operator|Could not extract specialized integer", re.I)
_NO_TRANSLATION = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.:]+)'")
_TOOLS = {"torch", "sympy", "mpmath", "onnx", "onnxscript", "onnx_ir", "cortex_compile"}
_CAUSED_BY = re.compile(r"Caused by: \(([^()]+):(\d+) in (\w+)\)")


def explain_export_failure(error: BaseException) -> str:
    """One line: what in the module stands in the way, where, and what to change; else the innermost first line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    if _DATA_DEPENDENT.search(text):
        return (
            f"what it does depends on the values of a tensor{_place(error, text)}; choose between values with "
            f"torch.where, or do that outside of the module, so that its parts are compiled"
        )
    missing = _NO_TRANSLATION.search(text)
    if missing:
        return f"the operator {missing[1]} has no ONNX form{_place(error, text)}; use another one"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:_LONGEST]


def _place(error: BaseException, text: str) -> str:
    """`` (modeling.py:12 in forward)``: the innermost line that is not torch's; else what torch names."""
    place = ""
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        package = str(step.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package not in _TOOLS and package not in sys.stdlib_module_names:
            place = f" ({_short(code.co_filename)}:{step.tb_lineno} in {code.co_name})"
        step = step.tb_next
    named = _CAUSED_BY.search(text)
    return place or (f" ({_short(named[1])}:{named[2]} in {named[3]})" if named else "")


def _short(file: str) -> str:
    """A library's file from its package on, the user's by its name."""
    library = file.rpartition("site-packages/")
    return library[2] if library[1] or not Path(file).is_absolute() else Path(file).name
