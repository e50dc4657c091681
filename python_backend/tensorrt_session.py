"""A TensorRT plan run on the GPU by this process, on arrays in the host's memory or on torch's tensors on the GPU.

Never run yet where this was written, which has no GPU: see tests/gpu.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import BuildError


class TensorRtSession:
    """Results are fresh arrays; ``run`` may be called from threads, one of which is on the GPU at a time."""

    def __init__(self, plan: Path) -> None:
        try:
            import tensorrt
            import torch

            runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
            self._engine = runtime.deserialize_cuda_engine(plan.read_bytes())
            if self._engine is None:
                found = f"TensorRT {tensorrt.__version__} on {torch.cuda.get_device_name()}"
                raise BuildError(f"{plan}: was built by another TensorRT or for another GPU than {found}")
            self._context = self._engine.create_execution_context()
        except BuildError:
            raise
        except Exception as error:
            raise BuildError(f"{plan}: TensorRT cannot load it: {error}") from error
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT for name in names}
        self._inputs = [name for name in names if is_input[name]]
        self._outputs = [name for name in names if not is_input[name]]
        self._dtypes = {name: _torch_dtype(self._engine.get_tensor_dtype(name)) for name in names}
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs and results stand in the graph's own order. Arrays come back for arrays, tensors for tensors.

        Raises:
            ValueError: a size is beyond those that the plan was built for.
        """
        import torch

        with self._lock:
            on_gpu = all(isinstance(given, torch.Tensor) for given in inputs)
            held = list(inputs) if on_gpu else [torch.from_numpy(array).cuda() for array in inputs]
            for name, tensor in zip(self._inputs, held, strict=True):
                if not self._context.set_input_shape(name, tuple(tensor.shape)):
                    raise ValueError(f"{name}: the plan was not built for the shape {list(tensor.shape)}")
                self._context.set_tensor_address(name, tensor.data_ptr())
            results = []
            for name in self._outputs:
                shape = tuple(self._context.get_tensor_shape(name))
                results.append(torch.empty(shape, dtype=self._dtypes[name], device="cuda"))
                self._context.set_tensor_address(name, results[-1].data_ptr())
            stream = torch.cuda.current_stream()
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise RuntimeError("TensorRT did not run the plan")
            # The next thread's call uses the same context.
            stream.synchronize()
            return results if on_gpu else [result.cpu().numpy() for result in results]


def _torch_dtype(dtype: Any) -> Any:
    """``DataType.FLOAT`` and ``HALF`` have names of their own; the others are called as torch calls them."""
    import torch

    name = str(dtype).rpartition(".")[2].lower()
    return getattr(torch, {"float": "float32", "half": "float16", "bf16": "bfloat16"}.get(name, name))
