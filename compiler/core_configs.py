"""The config.pbtxt of a remote core for each kind of machine; Triton takes ``configs/NAME.pbtxt`` by
``--model-config-name NAME``."""

from __future__ import annotations

from cortex_compile.backends.onnxruntime.gpu_settings import with_cuda, with_tensorrt
from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.config_pbtxt import OnCpu, OnGpu, Queue, core_config
from cortex_compile.compiler.size_profile import size_profile
from cortex_compile.python_backend.manifest import Variant

__all__ = ["configs_of_core"]


def configs_of_core(
    name: str, variant: Variant, settings: TritonSettings, queue: Queue, on_gpu: OnGpu, on_cpu: OnCpu
) -> dict[str, str]:
    """By the path in the model's folder. What Triton reads unasked runs where the graph was compiled."""
    if settings.backend != "onnxruntime":
        config = core_config(name, variant, settings, queue=queue, gpu=on_gpu)
        return {"config.pbtxt": config, "configs/gpu.pbtxt": config}
    for_cpu = core_config(name, variant, settings, queue=queue, cpu=on_cpu)
    names = [spec.name for spec in variant.inputs]
    varying = {spec.name for spec in variant.inputs if any(isinstance(size, str) for size in spec.shape)}
    tensorrt = with_tensorrt(settings, name, names, varying, size_profile(variant))
    return {
        "config.pbtxt": for_cpu,
        "configs/cpu.pbtxt": for_cpu,
        "configs/gpu.pbtxt": core_config(name, variant, with_cuda(settings), queue=queue, gpu=on_gpu),
        "configs/tensorrt.pbtxt": core_config(name, variant, tensorrt, queue=queue, gpu=on_gpu),
    }
