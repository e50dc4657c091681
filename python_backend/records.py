"""Frozen dataclasses to and from JSON, with errors that name the field.

The runtime may use the standard library only, so this stands in for pydantic here.
"""

from __future__ import annotations

import base64
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")


def to_json(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, paths to text and bytes to base64, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def from_json(record: type[Record], value: Any, where: str = "") -> Record:
    """Build a dataclass from what ``to_json`` made of it.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it (``cores[0].engine``).
    """
    result: Record = _convert(record, value, where)
    return result


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        return _expect(value in arguments, f"one of {arguments}", value, where)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        _expect(isinstance(value, (list, tuple)), "a list", value, where)
        return tuple(_convert(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)) and len(value) == len(arguments), "a list", value, where)
        pairs = zip(arguments, value, strict=True)
        return tuple(_convert(item, part, f"{where}[{index}]") for index, (item, part) in enumerate(pairs))
    if origin is dict:
        _expect(isinstance(value, dict), "an object", value, where)
        return {key: _convert(arguments[1], item, f"{where}[{key!r:.80}]") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return _convert_dataclass(hint, value, where)
    if hint in (Path, bytes):
        _expect(isinstance(value, str), "text", value, where)
        return Path(value) if hint is Path else base64.b64decode(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(_expect(abs(value) < 2**1023, "a number that a float holds", value, where))
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return _expect(fits, getattr(hint, "__name__", str(hint)), value, where)


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    problems = []
    for option in options:
        if option is not type(None):
            try:
                return _convert(option, value, where)
            except ValueError as error:
                problems.append(error)
    raise problems[-1]


def _convert_dataclass(hint: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, where)
    hints = typing.get_type_hints(hint)
    fields = {field.name: field for field in dataclasses.fields(hint)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            raise ValueError(f"{where or 'value'}: {key!r:.80} is not a field of {hint.__name__}")
    found = {}
    for name, field in fields.items():
        if name in value:
            found[name] = _convert(hints[name], value[name], f"{prefix}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{prefix}{name} is missing")
    return hint(**found)


def _expect(fits: bool, expected: str, value: Any, where: str) -> Any:
    if not fits:
        raise ValueError(f"{where or 'value'}: expected {expected}, found {value!r:.80}")
    return value
