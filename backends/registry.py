"""The engines there are, in the order in which they are tried."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from cortex_compile.backends.eager.engine import EagerEngine
from cortex_compile.backends.onnxruntime.engine import OnnxRuntimeEngine
from cortex_compile.backends.protocol import Engine
from cortex_compile.errors import UsageError

ENGINES: tuple[Engine, ...] = (OnnxRuntimeEngine(), EagerEngine())


def find_engine(name: str, engines: Sequence[Engine] = ENGINES) -> Engine:
    """
    Raises:
        UsageError: there is no engine of that name; the message suggests the nearest.
    """
    for engine in engines:
        if engine.name == name:
            return engine
    names = [engine.name for engine in engines]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}."
    raise UsageError(f"unknown engine {name!r}: {hint}")
