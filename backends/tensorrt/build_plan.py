"""A TensorRT plan from an ONNX graph. Never run yet where this was written, which has no GPU: see tests/gpu."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cortex_compile.backends.protocol import SizeProfile
from cortex_compile.errors import EngineError

__all__ = ["build_plan"]


def build_plan(graph: Path, names: Sequence[str], sizes: SizeProfile, plan: Path, timing_cache: Path) -> None:
    """Write ``plan``, which runs on GPUs of this kind with this version of TensorRT, for the sizes of ``sizes``.

    ``timing_cache`` is read and written: which kernels are fastest is measured once for each layer and GPU.

    Raises:
        EngineError: TensorRT does not take the graph; its own words say why.
    """
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network()
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        errors = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        raise EngineError(f"TensorRT does not take the graph: {'; '.join(errors)[:300]}")
    config = builder.create_builder_config()
    # What is proven is proven in float32; by itself TensorRT rounds the factors of a product to 10 bits of mantissa.
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    known = timing_cache.read_bytes() if timing_cache.is_file() else b""
    config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    profile = builder.create_optimization_profile()
    for name, smallest, typical, largest in zip(names, sizes.minimum, sizes.typical, sizes.maximum, strict=True):
        profile.set_shape(name, smallest, typical, largest)
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise EngineError("TensorRT takes the graph and builds no plan of it; what it printed is above")
    plan.write_bytes(built)
    _keep(config.get_timing_cache(), timing_cache)


def _keep(cache: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{time.monotonic_ns()}")
    temporary.write_bytes(cache.serialize())
    temporary.rename(file)
