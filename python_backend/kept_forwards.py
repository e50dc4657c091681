"""Bound methods that a predictor kept (``self.run = self.net.forward``), which an exchanged forward would not reach."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import MethodType, ModuleType
from typing import Any

from .find_modules import walk_objects

__all__ = ["KeptForward", "find_kept_forwards"]


@dataclass(frozen=True)
class KeptForward:
    """``holder[key]`` is ``module``'s own forward, bound."""

    holder: Any
    key: Any
    method: MethodType

    @property
    def module(self) -> Any:
        return self.method.__self__

    def call_late(self) -> None:
        """Put a method in its place that looks up ``module.forward`` at each call."""

        @functools.wraps(self.method.__func__)
        def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
            return module.forward(*args, **kwargs)

        self.holder[self.key] = MethodType(forward, self.module)

    def put_back(self) -> None:
        self.holder[self.key] = self.method


def find_kept_forwards(predictor: object, user_module: ModuleType) -> list[KeptForward]:
    """Those in attributes, lists, dicts and globals; a tuple or a closure cannot be given another one."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    holders = [vars(user_module), *(_holder(value) for _, value in walk_objects(predictor, user_module))]
    return [
        KeptForward(holder, key, method)
        for holder in holders
        for key, method in _items(holder)
        if isinstance(method, MethodType)
        and isinstance(method.__self__, torch.nn.Module)
        and method.__func__ is type(method.__self__).forward
    ]


def _holder(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return value
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


def _items(holder: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(holder, dict):
        yield from list(holder.items())
    elif isinstance(holder, list):
        yield from enumerate(list(holder))
