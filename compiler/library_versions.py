"""Versions of the libraries that a finding rests on."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import metadata

__all__ = ["library_versions"]

# May change what the user's modules mean: told where the predictor imported them, in the words of the library itself.
_OF_THE_PREDICTOR = ("torch", "transformers", "numpy")
# Make and run the graphs: told where they are installed, since what comes from the cache imports none of them.
_OF_THE_ENGINES = {"onnx": ("onnx",), "onnxscript": ("onnxscript",), "onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


def library_versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _OF_THE_PREDICTOR:
        if name in sys.modules:
            versions[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    for name, distributions in _OF_THE_ENGINES.items():
        for distribution in distributions:
            with suppress(metadata.PackageNotFoundError):
                versions[name] = metadata.version(distribution)
                break
    return versions
