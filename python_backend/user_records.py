"""Dataclasses and named tuples of the user's own, as containers of a module's arguments and results.

torch's pytree knows them only once they are registered, and to register the user's class would change what torch does
with it elsewhere. So an instance becomes a ``Record``, which alone is registered, and is put together again from it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["Record", "UnknownRecord", "is_record", "open_records"]


class UnknownRecord(Exception):
    """An instance that could not be made again from its fields. The text names its class and says why."""


class Record:
    """An instance taken apart: its class as ``module:qualified name``, and its fields."""

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        self.kind = kind
        self.fields = fields


def is_record(value: Any) -> bool:
    kind: Any = type(value)
    return _is_record_class(kind)


@functools.lru_cache(maxsize=4096)
def _is_record_class(kind: Any) -> bool:
    """False for Hugging Face's results, which are dataclasses too: they are dicts that torch knows."""
    if issubclass(kind, dict):
        return False
    return dataclasses.is_dataclass(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def open_records(tree: Any) -> Any:
    """The tree with a ``Record`` for each instance in it.

    Raises:
        UnknownRecord: a class that no import leads to, or an instance that holds more than its fields.
    """
    register_record()
    if is_record(tree):
        return Record(_kind_of(tree), {name: open_records(value) for name, value in _fields_of(tree).items()})
    if type(tree) in (tuple, list):
        return type(tree)(open_records(item) for item in tree)
    if type(tree) is dict:
        return {key: open_records(item) for key, item in tree.items()}
    return tree


def _kind_of(instance: Any) -> str:
    found = type(instance)
    kind = f"{found.__module__}:{found.__qualname__}"
    try:
        importable = _class_of(kind) is found
    except LookupError:
        importable = False
    if not importable:
        raise UnknownRecord(
            f"a {found.__name__}, whose class is not at the top of a file, where it could be found again"
        )
    return kind


def _fields_of(instance: Any) -> dict[str, Any]:
    if isinstance(instance, tuple):
        return dict(zip(type(instance)._fields, instance, strict=True))  # type: ignore[attr-defined]
    fields = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    more = vars(instance).keys() - fields if hasattr(instance, "__dict__") else set()
    if more:
        raise UnknownRecord(
            f"a {type(instance).__name__} with attributes that are no fields ({', '.join(sorted(more))})"
        )
    return fields


def _class_of(kind: str) -> Any:
    """
    Raises:
        LookupError: there is no such class in the modules that are loaded.
    """
    module, _, path = kind.partition(":")
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, type):
        raise LookupError(f"no class {path} in the module {module}")
    return found


@functools.cache
def register_record() -> None:
    """Tell torch's pytree of ``Record``. Specs in a build name it ``cortex_compile.Record``."""
    from torch.utils import _pytree as pytree

    pytree.register_pytree_node(
        Record,
        lambda record: (list(record.fields.values()), (record.kind, *record.fields)),
        _put_together,
        serialized_type_name="cortex_compile.Record",
        to_dumpable_context=json.dumps,
        from_dumpable_context=_load_context,
    )


def _load_context(text: str) -> tuple[str, ...]:
    context = tuple(json.loads(text))
    _class_of(context[0])
    return context


def _put_together(values: Iterable[Any], context: tuple[str, ...]) -> Any:
    """An instance with these fields. Its ``__init__`` is not run: it ran when the fields were made."""
    kind, *names = context
    found = _class_of(kind)
    if issubclass(found, tuple):
        return tuple.__new__(found, values)
    instance = object.__new__(found)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(instance, name, value)  # a frozen one refuses its own
    return instance
