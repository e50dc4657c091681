"""Weights of an exchanged module on a GPU: their memory there is given back, and taken again when they are read.

Triton holds them once more, for the core that answers in the module's place. Meanwhile a parameter's values are those
of a file that is mapped, as for modules on the CPU. Whoever comes to it through its module, as the module's own forward
does, finds it on its device again. One that something else holds too stays there, since nobody would bring it back.

Never run on a GPU; the tests do the same on the CPU.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .manifest import ParameterSpec
from .weights import map_weights

__all__ = ["release_weights"]


def release_weights(module: Any, file: Path, parameters: Sequence[ParameterSpec]) -> int:
    """Give back the memory of these parameters of the module, whose values stand in ``file``.

    Returns:
        The bytes that were given back.
    """
    import torch

    named = dict(module.named_parameters(remove_duplicate=False))
    held = _held_elsewhere(module, named)
    free = [spec for spec in parameters if id(named[spec.name]) not in held]
    devices = {id(named[spec.name]): named[spec.name].device for spec in free}
    released = map_weights(module, file, free)
    returning = _Returning(devices)
    for part in module.modules():
        if any(id(parameter) in devices for parameter in part._parameters.values()):
            vars(part)["_parameters"] = _ReturnsWhenRead(part._parameters, returning)
    if released and torch.cuda.is_available():
        torch.cuda.empty_cache()  # for Triton, which is another process
    return released


def _held_elsewhere(module: Any, named: dict[str, Any]) -> set[int]:
    """The ids of parameters that something else than the module's parts refers to: another module that shares them, a
    list that a part keeps for cuDNN."""
    parameters = list(named.values())
    ours = {id(holder) for holder in (named, parameters, *(part._parameters for part in module.modules()))}
    others = [holder for holder in gc.get_referrers(*parameters) if id(holder) not in ours]
    return {id(held) for holder in others for held in gc.get_referents(holder)} & {id(each) for each in parameters}


class _Returning:
    """Brings parameters back to their devices, each once. By id: they live as long as the module's own dicts."""

    def __init__(self, devices: dict[int, Any]) -> None:
        self._devices = devices
        self._lock = threading.Lock()

    def bring_back(self, parameter: Any) -> None:
        if id(parameter) not in self._devices:
            return
        with self._lock:
            device = self._devices.get(id(parameter))
            if device is not None:
                parameter.data = parameter.data.to(device, copy=True)
                del self._devices[id(parameter)]


class _ReturnsWhenRead(dict[str, Any]):
    """A module's ``_parameters``, through which ``nn.Module`` reads each of them."""

    def __init__(self, parameters: dict[str, Any], returning: _Returning) -> None:
        super().__init__(parameters)
        self._returning = returning

    def __getitem__(self, name: str) -> Any:
        parameter = super().__getitem__(name)
        self._returning.bring_back(parameter)
        return parameter

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  # that is this method

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]  # who asks for the first alone gets it alone
        return ((name, self[name]) for name in self)

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        return (self[name] for name in self)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()  # defined here, so that dict(…) and {**…} come by __getitem__, too

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        return dict, (list(self.items()),)
