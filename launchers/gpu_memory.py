"""Whether the cores that are about to be served fit the GPUs: what is needed, what is free, and who needs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.served_models import ServedModel
from cortex_compile.python_backend.manifest import GpuMemory, read_manifest

__all__ = ["Gpu", "check_gpu_memory", "parse_gpus_of_nvidia_smi", "read_gpus"]

UNCHECKED = "CORTEX_COMPILE_GPU_MEMORY"
# Stated, not measured: CUDA's context in Triton, and the handles and workspaces of cuBLAS and cuDNN.
_OF_CUDA = 512 * 2**20
_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]


@dataclass(frozen=True)
class Gpu:
    name: str
    total_bytes: int
    free_bytes: int


def read_gpus() -> tuple[Gpu, ...]:
    """The GPUs that nvidia-smi lists, in its order; none where it cannot be asked."""
    try:
        ended = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus_of_nvidia_smi(ended.stdout)


def parse_gpus_of_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """A line a GPU, in MiB. One that does not tell its memory, as GPUs that share the host's, is left out."""
    gpus = []
    for line in text.splitlines():
        name, *numbers = (part.strip() for part in line.rsplit(",", 2))
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            total, free = (int(number) * 2**20 for number in numbers)
            gpus.append(Gpu(name, total, free))
    return tuple(gpus)


def check_gpu_memory(builds: Sequence[Path], models: Sequence[ServedModel], gpus: Sequence[Gpu]) -> list[str]:
    """Compare what the cores take with what is free. ``gpus`` are those that Triton sees, in its order.

    Returns:
        A line for each GPU, for the log.

    Raises:
        LaunchError: they do not fit a GPU; the numbers are told, and what to do.
    """
    needs = {need.model: need for build in builds for need in read_manifest(build / "manifest.json").gpu_memory}
    on_gpus = [model for model in models if model.gpu_instances and model.name in needs]
    if not on_gpus:
        return []
    if not gpus:
        return ["GPU memory was not checked: nvidia-smi tells of no GPU here."]
    lines = []
    for number, gpu in enumerate(gpus):
        here = [(model, needs[model.name]) for model in on_gpus if not model.gpus or number in model.gpus]
        if not here:
            continue
        needed = _OF_CUDA + sum(model.gpu_instances * _bytes_of(need) for model, need in here)
        parts = "; ".join(_words(model, need) for model, need in here)
        told = (
            f"GPU {number} ({gpu.name}) has {_gib(gpu.free_bytes)} of {_gib(gpu.total_bytes)} free, and the compiled "
            f"modules need about {_gib(needed)}: {parts} and {_gib(_OF_CUDA)} for CUDA"
        )
        if needed > gpu.free_bytes and os.environ.get(UNCHECKED) != "unchecked":
            raise LaunchError(
                f"{told}. Serve fewer instances (compile.gpu.instances), smaller or fewer buckets, or on another GPU; "
                f"if the estimate is wrong, say compile.gpu.memory, or {UNCHECKED}=unchecked to start all the same."
            )
        lines.append(f"{told}.")
    return lines


def _bytes_of(need: GpuMemory) -> int:
    return need.weights_bytes + need.activation_bytes


def _words(model: ServedModel, need: GpuMemory) -> str:
    parts = f"{_gib(need.weights_bytes)} weights + {_gib(need.activation_bytes)} activations"
    if not need.activation_bytes:
        parts = _gib(need.weights_bytes)
    return f"{model.name} {model.gpu_instances} × ({parts}, {need.source})"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
