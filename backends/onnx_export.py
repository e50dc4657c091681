"""torch's dynamo exporter, and what every ONNX file of ours has: one opset, one IR version, named weights."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from cortex_compile.backends.export_reasons import explain_export_failure
from cortex_compile.backends.protocol import ExportedGraph, ExportRequest, Refused

# What the ONNX Runtime inside the oldest supported Triton image reads (26.06), with room to spare.
OPSET = 20
IR_VERSION = 10

GRAPH_FILE = "model.onnx"


def export_onnx(request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
    """Write ``model.onnx`` and its weights as external data beside it into ``folder``.

    The exporter refuses control flow that depends on values, which is what it must do: a graph that holds one branch
    only answers wrongly on the other.
    """
    import onnx
    import torch

    dimension = torch.export.Dim
    shapes = tuple(
        {
            axis: dimension.AUTO if (index, axis) in request.dynamic_axes else dimension.STATIC
            for axis in range(example.dim())
        }
        for index, example in enumerate(request.examples)
    )
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
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
                verbose=False,
            )
        assert program is not None  # only without dynamo
        program.model.ir_version = IR_VERSION
        path = folder / GRAPH_FILE
        program.save(path, external_data=True)
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


def _shape(value: Any) -> tuple[int | str, ...]:
    dimensions = value.type.tensor_type.shape.dim
    shape: list[int | str] = []
    for axis, dimension in enumerate(dimensions):
        if dimension.HasField("dim_value"):
            shape.append(dimension.dim_value)
        else:
            shape.append(dimension.dim_param or f"{value.name}_{axis}")
    return tuple(shape)
