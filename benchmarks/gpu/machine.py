"""What this machine has for the check, and what is missing, each with its reason."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

# What compiling and serving import; what the others need is asked for where it is used.
_NEEDED = ("click", "fastapi", "grpc", "httpx", "onnx", "onnxscript", "packaging", "pydantic", "rich", "tritonclient")


@dataclass(frozen=True)
class Machine:
    """``missing``: step of the check to the reason why it cannot be run here."""

    gpus: tuple[str, ...]
    versions: dict[str, str]
    missing: dict[str, str]


def why_no_gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA"
    return None if torch.cuda.is_available() else f"torch {torch.__version__} sees no NVIDIA GPU"


def look_at_machine() -> Machine:
    import torch

    missing = {}
    versions = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    if (cuda := _why_no_onnxruntime(versions)) is not None:
        missing["onnxruntime"] = cuda
    if (tensorrt := _why_no_tensorrt(versions)) is not None:
        missing["tensorrt"] = tensorrt
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    serving = f"not installed: {', '.join(absent)}" if absent else _why_no_server()
    if (reason := serving or cuda) is not None:
        missing["serve"] = reason
    return Machine(
        gpus=tuple(_describe(index) for index in range(torch.cuda.device_count())),
        versions=versions,
        missing=missing,
    )


def _describe(index: int) -> str:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {properties.major}.{properties.minor}"


def _why_no_onnxruntime(versions: dict[str, str]) -> str | None:
    try:
        import onnxruntime
    except ImportError:
        return "onnxruntime is not installed"
    versions["onnxruntime"] = onnxruntime.__version__
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} is built without CUDA"
    return None


def _why_no_tensorrt(versions: dict[str, str]) -> str | None:
    from cortex_compile.backends.protocol import Missing
    from cortex_compile.backends.registry import find_engine

    answer = find_engine("tensorrt").availability()
    if isinstance(answer, Missing):
        return answer.reason
    versions["tensorrt"] = answer.version
    return None


def _why_no_server() -> str | None:
    from cortex_compile.errors import LaunchError
    from cortex_compile.launchers.server_folder import find_installed_server

    try:
        find_installed_server()
    except LaunchError as error:
        return str(error)
    return None
