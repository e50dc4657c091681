"""``backend: "onnxruntime"`` for a Triton that carries only the Python backend.

Triton runs this file as a Python-based backend: once for each instance of each model whose config names it. It reads
what NVIDIA's own backend reads (``default_model_filename``, ``max_batch_size``, ``parameters``), so that one model
repository serves on both. Triton does instances and queues; requests that it batches come to ``execute`` as a list.

The folder of a backend stands alone: ``tensors.py`` of our runtime is beside this file, and onnxruntime comes from the
environment.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


def _load_tensors() -> Any:
    """tensors.py by its path, under a name that no model's own module has."""
    path = Path(__file__).with_name("tensors.py")
    spec = importlib.util.spec_from_file_location("_cortex_compile_onnxruntime_tensors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_tensors = _load_tensors()

# numpy has no BF16, and TYPE_STRING is a vector of Python objects there: neither crosses by DLPack.
_REFUSED_TYPES = ("TYPE_BF16", "TYPE_STRING")


class TritonPythonModel:
    """One instance of one model: a session of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        provider = _provider_of(args)
        for tensor in (*config["input"], *config["output"]):
            if tensor["data_type"] in _REFUSED_TYPES:
                raise ValueError(f"{tensor['name']!r} is of {tensor['data_type']}, which this backend cannot carry")
        graph = Path(args["model_repository"]) / args["model_version"]
        graph /= config.get("default_model_filename") or "model.onnx"
        self._session = _open_session(graph, config.get("parameters", {}), provider)
        self._batches = config["max_batch_size"] > 0
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        responses: list[Any] = [None] * len(requests)
        for group in self._group(requests, responses):
            self._answer(group, requests, responses)
        return responses

    def _group(self, requests: list[Any], responses: list[Any]) -> list[_Group]:
        """Requests that one run can answer: equal in types and in all dimensions but the batch's."""
        groups: dict[Any, _Group] = {}
        for index, request in enumerate(requests):
            try:
                arrays = [_array_of(request, name) for name in self._inputs]
            except Exception as error:
                responses[index] = _refusal(error)
                continue
            key = tuple((array.dtype, array.shape[1:]) for array in arrays) if self._batches else index
            groups.setdefault(key, _Group()).add(index, arrays)
        return list(groups.values())

    def _answer(self, group: _Group, requests: list[Any], responses: list[Any]) -> None:
        try:
            results = self._run(group.joined())
            parts = list(group.split(results)) if len(group.indices) > 1 else [results]
        except Exception as error:
            if len(group.indices) == 1:
                responses[group.indices[0]] = _refusal(error)
                return
            # One of them is to blame; the others are answered.
            for alone in group.single_requests():
                self._answer(alone, requests, responses)
            return
        for index, part in zip(group.indices, parts, strict=True):
            responses[index] = self._respond(requests[index], part)

    def _run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))

    def _respond(self, request: Any, results: list[np.ndarray]) -> Any:
        # Never raised: Triton would answer the whole batch with the traceback.
        try:
            wanted = request.requested_output_names()
            pairs = [pair for pair in zip(self._outputs, results, strict=True) if pair[0] in wanted]
            return pb_utils.InferenceResponse([_tensors.tensor_of(name, array) for name, array in pairs])
        except Exception as error:
            return _refusal(error)


class _Group:
    """Requests that run together, by their place in the call, and the inputs of each."""

    def __init__(self) -> None:
        self.indices: list[int] = []
        self._arrays: list[list[np.ndarray]] = []

    def add(self, index: int, arrays: list[np.ndarray]) -> None:
        self.indices.append(index)
        self._arrays.append(arrays)

    def joined(self) -> list[np.ndarray]:
        if len(self._arrays) == 1:
            return self._arrays[0]
        return [np.concatenate(same) for same in zip(*self._arrays, strict=True)]

    def split(self, results: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        rows = [arrays[0].shape[0] for arrays in self._arrays]
        for result in results:
            if result.shape[:1] != (sum(rows),):
                raise ValueError(f"an output of shape {result.shape} for a batch of {sum(rows)} cannot be divided")
        start = 0
        for count in rows:
            yield [result[start : start + count] for result in results]
            start += count

    def single_requests(self) -> Iterator[_Group]:
        for index, arrays in zip(self.indices, self._arrays, strict=True):
            alone = _Group()
            alone.add(index, arrays)
            yield alone


def _provider_of(args: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The execution provider of an instance and its options, which are those that NVIDIA's backend is given.

    On a GPU: never run yet where this was written; scripts/gpu_check runs it.
    """
    kind = args["model_instance_kind"]
    if kind == "CPU":
        return "CPUExecutionProvider", {}
    if kind != "GPU":
        raise ValueError(f"instance_group: kind {kind!r}; this backend knows KIND_CPU and KIND_GPU")
    options = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    return "CUDAExecutionProvider", {"device_id": args["model_instance_device_id"], **options}


def _open_session(graph: Path, parameters: dict[str, Any], provider: tuple[str, dict[str, str]]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: warnings name nodes of a graph that the user never wrote
    options.intra_op_num_threads = _count(parameters, "intra_op_thread_count")
    options.inter_op_num_threads = _count(parameters, "inter_op_thread_count")
    # As in a predictor's process (python_backend/onnxruntime_session.py): other processes want the cores, and on a CPU
    # these fused kernels are slower than their parts.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = [provider]
    if provider[0] != "CPUExecutionProvider":
        providers.append("CPUExecutionProvider")
    else:
        slower = "SkipLayerNormFusion;BiasGeluFusion"
        options.add_session_config_entry("optimization.disable_specified_optimizers", slower)
    if provider[0] not in onnxruntime.get_available_providers():
        raise ValueError("instance_group: KIND_GPU, and onnxruntime is installed without CUDA; install onnxruntime-gpu")
    session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    # Where CUDA's libraries do not load, ONNX Runtime says so in a warning and takes the CPU.
    if session.get_providers()[0] != provider[0]:
        raise ValueError(f"instance_group: KIND_GPU, and onnxruntime does not get {provider[0]} to run")
    return session


def _count(parameters: dict[str, Any], name: str) -> int:
    """A thread count of the config; 0, as for NVIDIA's backend, lets ONNX Runtime choose."""
    text = parameters.get(name, {}).get("string_value", "0")
    if not text.isdecimal():
        raise ValueError(f"parameter {name!r}: expected a number of threads, found {text!r}")
    return int(text)


def _array_of(request: Any, name: str) -> np.ndarray:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        raise ValueError(f"input {name!r} is missing")
    return _tensors.array_from(tensor)


def _refusal(error: Exception) -> Any:
    # ONNX Runtime's own text names nodes and files of the server; the first line says what was wrong.
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(reason, pb_utils.TritonError.INVALID_ARG))
