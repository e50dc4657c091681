"""How Triton's own onnxruntime backend runs a graph on a GPU: by CUDA, or by TensorRT and what it leaves by CUDA.

The backend refuses a key that it does not know. It takes these (README.md of triton-inference-server/
onnxruntime_backend), and overwrites three of CUDA's with its defaults unless they stand among ``parameters``.
Written and parsed by the tests here; never run on a GPU.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from cortex_compile.backends.protocol import Accelerator, SizeProfile, TritonSettings

__all__ = ["CACHE_FOLDER", "with_cuda", "with_tensorrt"]

# In the container. TensorRT's provider makes this one folder, none above it; a volume here outlives the container.
CACHE_FOLDER = "/tmp/cortex-compile-tensorrt"  # noqa: S108  # /tmp of a container is its own

# What was proven was proven in float32; by itself CUDA rounds the factors of a product to 10 bits of mantissa.
_CUDA = Accelerator("cuda", {"use_tf32": "0"})
_CUDA_PARAMETERS = {
    "arena_extend_strategy": "1",  # as much as is asked for; by itself each step doubles, and nothing is given back
    "cudnn_conv_algo_search": "1",  # by heuristics; by itself each new size tries every algorithm, inside its request
}


def with_cuda(settings: TritonSettings) -> TritonSettings:
    return replace(settings, parameters=settings.parameters | _CUDA_PARAMETERS, accelerators=(_CUDA,))


def with_tensorrt(
    settings: TritonSettings, model: str, names: Sequence[str], varying: Collection[str], sizes: SizeProfile
) -> TritonSettings:
    """An engine for all the proven sizes, built before the model is ready and kept for the next start.

    TensorRT builds for a range of sizes and anew for each beyond it, for seconds to minutes and inside the request: so
    every input that varies has its range here, and the warm-up has all of the range built at the start.
    """
    tensorrt = {
        "precision_mode": "FP32",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": CACHE_FOLDER,
        "trt_engine_cache_prefix": model,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": CACHE_FOLDER,
    }
    if varying:
        for key, shapes in (("min", sizes.minimum), ("opt", sizes.typical), ("max", sizes.maximum)):
            tensorrt[f"trt_profile_{key}_shapes"] = ",".join(
                f"{name}:{'x'.join(map(str, shape))}"
                for name, shape in zip(names, shapes, strict=True)
                if name in varying
            )
    with_its_rest = with_cuda(settings)
    return replace(
        with_its_rest, accelerators=(Accelerator("tensorrt", tensorrt), *with_its_rest.accelerators), warm_up=True
    )
