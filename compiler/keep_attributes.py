"""The attributes and buffers of a module, put back where a call changed them.

Some modules set them only on some sizes: a window that is made smaller for a small image, and stays so; a table of
positions that grows. A graph leaves that out, so at such a size it is not the module; and all that is compared later
needs the module as it was.
"""

from __future__ import annotations

from typing import Any

from cortex_compile.compiler.side_effects import attributes_of, dotted
from cortex_compile.python_backend.fingerprint import is_plain

__all__ = ["KeptAttributes"]

_MISSING = object()


class KeptAttributes:
    """Which objects they are when this is made, and not what those hold."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._parts = dict(module.named_modules())
        self._kept = dict(attributes_of(module))
        self._buffers = [(part, name, part._buffers[name]) for part in self._parts.values() for name in part._buffers]

    def put_back(self) -> str | None:
        """The name of one that was not as it had been, or None."""
        now = dict(attributes_of(self._module))
        changed = None
        for key in self._kept.keys() | now.keys():
            before, after = self._kept.get(key, _MISSING), now.get(key, _MISSING)
            if before is after:
                continue
            path, name = key
            if before is _MISSING:
                delattr(self._parts[path], name)
            else:
                setattr(self._parts[path], name, before)
            if not (is_plain(after) and type(before) is type(after) and before == after):
                changed = dotted(key)
        for part, name, buffer in self._buffers:
            if part._buffers.get(name) is not buffer:
                part._buffers[name] = buffer
                changed = name
        return changed
