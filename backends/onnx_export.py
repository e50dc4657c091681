"""An ONNX file from a module's call, and what every one of ours has: one opset, one IR version, named tensors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortex_compile.backends.export_reasons import explain_export_failure
from cortex_compile.backends.onnx_attention import attention_translations, contiguous_attention
from cortex_compile.backends.onnx_export_torchscript import write_by_torchscript
from cortex_compile.backends.protocol import ExportedGraph, ExportRequest, Refused
from cortex_compile.errors import EngineError

if TYPE_CHECKING:
    from onnxscript import ir

# What the ONNX Runtime inside the oldest supported Triton image reads (26.06), with room to spare.
OPSET = 20
IR_VERSION = 10

GRAPH_FILE = "model.onnx"

# dynamo refuses control flow that depends on values, and knows how sizes hang together. What it does not know yet is
# traced, which knows neither: a trace is believed only when it was made without a warning and then proven equal.
EXPORTERS = ("dynamo", "torchscript")


def export_onnx(
    request: ExportRequest, folder: Path, improve: Callable[[ir.Model], object] = lambda model: None
) -> ExportedGraph | Refused:
    """Write ``model.onnx`` and its weights as external data beside it into ``folder``, by ``request.exporter``.

    Args:
        improve: changes what dynamo made, for an engine that computes it faster so.
    """
    import onnx

    path = folder / GRAPH_FILE
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        if request.exporter == "dynamo":
            _write_by_dynamo(request, path, improve)
        else:
            write_by_torchscript(request, path, OPSET, IR_VERSION)
    except EngineError as error:
        return Refused("export", str(error))
    except Exception as error:
        return Refused("export", explain_export_failure(error))
    model = onnx.load(path, load_external_data=False)
    if [value.name for value in model.graph.input] != list(request.input_names):
        return Refused("export", "the exporter changed the inputs")
    return ExportedGraph(
        path,
        tuple(sorted(folder.iterdir())),
        tuple(_shape(value) for value in model.graph.input),
        tuple(_shape(value) for value in model.graph.output),
    )


def _write_by_dynamo(request: ExportRequest, path: Path, improve: Callable[[ir.Model], object]) -> None:
    """Raises whatever torch raises: its own refusals of what it cannot prove are what we want of it."""
    import torch

    dimension = torch.export.Dim
    shapes = tuple(
        {
            axis: dimension.AUTO if (index, axis) in request.dynamic_axes else dimension.STATIC
            for axis in range(example.dim())
        }
        for index, example in enumerate(request.examples)
    )
    with warnings.catch_warnings(), contiguous_attention():
        # Its own deprecations, meant for its authors.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            request.module,
            request.examples,
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(request.input_names),
            output_names=list(request.output_names),
            opset_version=OPSET,
            custom_translation_table=attention_translations(),
            verbose=False,
        )
    assert program is not None  # only without dynamo
    program.model.ir_version = IR_VERSION
    improve(program.model)
    program.save(path, external_data=True)


def _shape(value: Any) -> tuple[int | str, ...]:
    dimensions = value.type.tensor_type.shape.dim
    shape: list[int | str] = []
    for axis, dimension in enumerate(dimensions):
        if dimension.HasField("dim_value"):
            shape.append(dimension.dim_value)
        else:
            shape.append(dimension.dim_param or f"{value.name}_{axis}")
    return tuple(shape)
