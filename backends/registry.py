"""The engines there are: ours, in the order in which they are shown, and those that other packages bring."""

from __future__ import annotations

import difflib

from cortex_compile.backends.eager.engine import EagerEngine
from cortex_compile.backends.onnxruntime.engine import OnnxRuntimeEngine
from cortex_compile.backends.openvino.engine import OpenVinoEngine
from cortex_compile.backends.plugins import BrokenEngine, plugin_engines
from cortex_compile.backends.protocol import Engine
from cortex_compile.backends.tensorrt.engine import TensorRtEngine
from cortex_compile.errors import EngineError, UsageError

__all__ = ["ENGINES", "all_engines", "find_engine"]

ENGINES: tuple[Engine, ...] = (OnnxRuntimeEngine(), OpenVinoEngine(), TensorRtEngine(), EagerEngine())


def all_engines() -> tuple[Engine, ...]:
    """Ours and those of other packages; one that cannot be loaded is there too, and says why it is missing."""
    return (*ENGINES, *plugin_engines(taken=[engine.name for engine in ENGINES]))


def find_engine(name: str) -> Engine:
    """Other packages are looked at only for a name that is none of ours.

    Raises:
        UsageError: there is no engine of that name; the message suggests the nearest.
        EngineError: it is another package's, which cannot be loaded; the package is named.
    """
    for engine in ENGINES:
        if engine.name == name:
            return engine
    engines = all_engines()
    for engine in engines:
        if engine.name == name:
            if isinstance(engine, BrokenEngine):
                raise EngineError(f"engine {name!r}: {engine.missing.reason}. Remedy: {engine.missing.remedy}")
            return engine
    names = [engine.name for engine in engines]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}."
    raise UsageError(f"unknown engine {name!r}: {hint}")
