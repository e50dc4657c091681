"""What an instance of each remote core takes of a GPU: for the manifest, by which a launcher sees whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cortex_compile.backends.onnx_memory import estimate_activations
from cortex_compile.compiler.gpu_schedule import GpuSchedule
from cortex_compile.compiler.size_profile import size_profile
from cortex_compile.python_backend.manifest import Core, GpuMemory, Variant

__all__ = ["gpu_memory_of"]


def gpu_memory_of(cores: Sequence[Core], repository: Path, schedule: GpuSchedule) -> Iterator[GpuMemory]:
    """For each Triton model among the cores of a written repository."""
    for core in cores:
        if core.placement == "remote":
            for variant in core.variants:
                yield _of_model(variant, repository / variant.graph / "1", schedule)


def _of_model(variant: Variant, folder: Path, schedule: GpuSchedule) -> GpuMemory:
    if schedule.memory_bytes is not None:
        return GpuMemory(variant.graph, schedule.memory_bytes, 0, "as compile.gpu.memory says")
    weights = sum(file.stat().st_size for file in folder.iterdir())
    graph = next(folder.glob("*.onnx"), None)
    if graph is None:
        return GpuMemory(variant.graph, weights, 0, "of the plan alone; what TensorRT computes in is not known")
    shapes = size_profile(variant).maximum
    names = [spec.name for spec in variant.inputs]
    estimate = estimate_activations(graph, dict(zip(names, shapes, strict=True)))
    largest = ", ".join(f"{name} {list(shape)}" for name, shape in zip(names, shapes, strict=True))
    said = f"estimated from the graph's shapes for {largest}"
    if estimate.guessed:
        said += f", {estimate.guessed} of them unknown and counted as the largest"
    return GpuMemory(variant.graph, weights, estimate.peak_bytes, said)
