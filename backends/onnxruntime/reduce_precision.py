"""A graph of fp32 rewritten to compute with less, by ONNX Runtime's own tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cortex_compile.backends.onnx_export import GRAPH_FILE, IR_VERSION
from cortex_compile.backends.protocol import ExportedGraph, Refused

__all__ = ["reduce_precision"]

QUANTIZED_OPERATORS = ("MatMul", "Gemm", "LSTM")


def reduce_precision(exported: ExportedGraph, precision: str, folder: Path) -> ExportedGraph | Refused:
    """Write the graph into ``folder``, which exists and holds nothing of it. Inputs and outputs stay as they are."""
    if precision == "bf16":
        return Refused("export", "ONNX Runtime has no bf16 matrix product for the CPU")
    write: Callable[[Path, Path], str] = {"int8": _write_int8, "fp16": _write_fp16}[precision]
    target = folder / GRAPH_FILE
    try:
        problem = write(exported.graph, target)
    except Exception as error:
        return Refused("export", f"ONNX Runtime cannot turn the graph into {precision}: {error}"[:500])
    if problem:
        return Refused("export", problem)
    return replace(exported, graph=target, files=tuple(sorted(folder.iterdir())))


def _write_int8(source: Path, target: Path) -> str:
    """Weights become int8 beforehand, what they are multiplied with at each run, by its own largest number.

    Of the range of int8 half is used: processors without VNNI add two products in 16 bits, which weights of 8 bits
    overflow, and a build must answer the same on any.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(source, load_external_data=False)
    # Else it warns on the root logger. There is nothing to do before: the exporter has folded constants already.
    add_pre_process_metadata(model)
    # The exporter states the shapes of weights, too, some of which are turned on the way.
    del model.graph.value_info[:]
    onnx.save(model, source)
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=list(QUANTIZED_OPERATORS),
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )
    quantized = onnx.load(target, load_external_data=False)
    if not any(node.op_type in ("MatMulInteger", "DynamicQuantizeLSTM") for node in quantized.graph.node):
        return f"it has none of what int8 is for: {', '.join(QUANTIZED_OPERATORS)} with weights of its own"
    return ""


def _write_fp16(source: Path, target: Path) -> str:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(source), keep_io_types=True, disable_shape_infer=True)
    model.ir_version = IR_VERSION
    onnx.save(model, target, save_as_external_data=True, location=f"{GRAPH_FILE}.data")
    return ""
