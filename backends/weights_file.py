"""One file for all the weights of a module: its graphs and its eager parameters point into it, equal bytes once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from cortex_compile.python_backend.fingerprint import bytes_of
from cortex_compile.python_backend.manifest import ParameterSpec

if TYPE_CHECKING:
    import torch

# A multiple of every dtype's size and of a cache line, so mapped values can be read in place.
ALIGNMENT = 64


class WeightsFile:
    """Appends blobs to a file; a blob that is already there is found again by its sha256."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[bytes, int] = {}
        self._end = 0
        path.write_bytes(b"")

    def offset_of(self, values: bytes | memoryview) -> int:
        """The offset in bytes at which ``values`` stand; they are appended when new."""
        key = hashlib.sha256(values).digest()
        if key not in self._offsets:
            start = -(-self._end // ALIGNMENT) * ALIGNMENT
            with self.path.open("r+b") as file:
                file.seek(start)
                file.write(values)
            self._offsets[key] = start
            self._end = start + len(values)
        return self._offsets[key]

    def add_parameters(self, module: torch.nn.Module) -> tuple[ParameterSpec, ...]:
        """Store each parameter once; tied ones are one parameter."""
        import torch

        return tuple(
            ParameterSpec(
                name,
                str(parameter.dtype).removeprefix("torch."),
                tuple(parameter.shape),
                self.offset_of(bytes_of(parameter)),
            )
            for name, parameter in module.named_parameters()
            if parameter.layout == torch.strided and parameter.device.type == "cpu" and parameter.numel() > 0
        )
