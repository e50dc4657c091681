"""Versions of the libraries that a finding rests on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata

from cortex_compile.python_backend.fingerprint import library_version

__all__ = ["library_versions"]

# May change what the user's modules mean: told where the predictor imported them, in the words of the library itself.
_OF_THE_PREDICTOR = ("torch", "transformers", "numpy")
# Make and run the graphs: told where they are installed, since what comes from the cache imports none of them.
_OF_THE_ENGINES = {
    "onnx": ("onnx",),
    "onnxscript": ("onnxscript",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt",),
}


def library_versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """``packages`` are those that the classes of the modules came from, besides torch and transformers."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in (*_OF_THE_PREDICTOR, *sorted(packages)):
        version = library_version(name)
        if version is not None:
            versions[name] = version
    for name, distributions in _OF_THE_ENGINES.items():
        for distribution in distributions:
            with suppress(metadata.PackageNotFoundError):
                versions[name] = metadata.version(distribution)
                break
    return versions | _gpu()


def _gpu() -> dict[str, str]:
    """A plan of TensorRT's is for one compute capability, and fastest on one kind of GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    capability = "{}.{}".format(*torch.cuda.get_device_capability())
    return {"gpu": str(torch.cuda.get_device_name()), "compute_capability": capability}
