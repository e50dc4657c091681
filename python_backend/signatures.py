"""Cortex's contract of a predictor class: its methods and the arguments that they may ask for by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import PredictorError

__all__ = ["CLASS_NAME", "check_methods", "check_models", "line_of", "line_of_method"]

CLASS_NAME = "PythonPredictor"


@dataclass(frozen=True)
class _Method:
    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


_REQUEST = ("payload", "query_params", "headers")
# Cortex checks the optional methods before the required ones, and reports the first fault only.
_OPTIONAL_METHODS = (
    _Method("on_job_complete", ("self",)),
    _Method("post_predict", ("self",), ("response", *_REQUEST)),
    _Method("load_model", ("self", "model_path")),
)
_REQUIRED_METHODS = (
    _Method("__init__", ("self", "config"), ("job_spec", "python_client", "metrics_client")),
    _Method("predict", ("self",), (*_REQUEST, "batch_id")),
)


def check_methods(cls: type, file: Path) -> dict[str, tuple[str, ...]]:
    """The arguments, without self, of each method of the contract that the class has.

    Raises:
        PredictorError: the first fault, in Cortex's words, with the user's file and line before them.
    """
    found = {}
    for method in (*_OPTIONAL_METHODS, *_REQUIRED_METHODS):
        function = getattr(cls, method.name, None)
        if function or method in _REQUIRED_METHODS:
            found[method.name] = _check_method(cls, function, method, file)
    return found


def check_models(cls: type, init_arguments: tuple[str, ...], file: Path, *, configured: bool) -> None:
    """
    Raises:
        PredictorError: models are configured and ``__init__`` or ``load_model`` is not made for them, or the reverse.
    """
    wants_client = "python_client" in init_arguments
    why = "when the python predictor type is used and models are specified in the api spec, adding the"
    if configured and not wants_client:
        problem = '"python_client" is a required argument, but was not provided'
        raise _fault(
            file,
            cls.__init__,  # type: ignore[misc]  # it is only asked for its line
            f'invalid signature for method "__init__": {problem}: {why} "python_client" argument is required',
        )
    if configured and getattr(cls, "load_model", None) is None:
        raise _fault(file, cls, f'required method "load_model" is not defined: {why} "load_model" method is required')
    if wants_client and not configured:
        raise _fault(
            file,
            cls.__init__,  # type: ignore[misc]
            '__init__ asks for "python_client", but no models are configured; name them under'
            " predictor.multi_model_reloading in cortex.yaml, or load the model in __init__ and remove the argument",
        )


def line_of(item: Any) -> int:
    """The first line of a class or function, decorators included; 1 where Python does not know."""
    try:
        return inspect.getsourcelines(item)[1] or 1
    except (OSError, TypeError):
        return 1


def line_of_method(cls: type, name: str) -> int:
    return line_of(getattr(cls, name))


def _check_method(cls: type, function: Callable[..., Any] | None, method: _Method, file: Path) -> tuple[str, ...]:
    if not function:
        raise _fault(file, cls, f'required method "{method.name}" is not defined; add {_example(method)}')
    if not callable(function):
        raise _fault(file, cls, f'"{method.name}" is defined, but is not a method; define {_example(method)}')
    parameters = inspect.signature(function).parameters.values()
    named = [item for item in parameters if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]
    names = [item.name for item in named]
    # object.__init__, which stands where a class has none, is in no file.
    place = function if getattr(function, "__module__", None) else cls
    invalid = f'invalid signature for method "{method.name}({", ".join(names)})"'
    for name in method.required:
        if name not in names:
            hint = "" if names or not parameters else " (a decorator hides it: use functools.wraps)"
            problem = f'"{name}" is a required argument, but was not provided{hint}; expected {_example(method)}'
            raise _fault(file, place, f"{invalid}: {problem}")
        if name == "self" and names[0] != "self":
            raise _fault(file, place, f'{invalid}: "self" must be the first argument')
    supported = (*method.required, *method.optional)
    for item in named:
        if item.name not in supported:
            problem = f'"{item.name}" is not a supported argument; supported are {", ".join(supported)}'
            raise _fault(file, place, f"{invalid}: {problem}")
        if item.kind is item.POSITIONAL_ONLY and item.name != "self":
            problem = f'"{item.name}" is given by name, so it must stand after the "/"'
            raise _fault(file, place, f"{invalid}: {problem}")
    return tuple(names[1:])


def _fault(file: Path, place: Any, text: str) -> PredictorError:
    return PredictorError(f"{file}:{line_of(place)}: class {CLASS_NAME}: {text}")


def _example(method: _Method) -> str:
    return f"def {method.name}({', '.join((*method.required, *method.optional[:1]))})"
