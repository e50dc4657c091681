"""torch's older exporter, which writes down what a module does to example tensors.

What a trace takes from a tensor into Python (``if x.sum() > 0``, ``int(x)``) is fixed in it for ever. torch warns of
each such place, and each such warning is a refusal here, be it in the user's file or in a library's.
"""

from __future__ import annotations

import linecache
import warnings
from pathlib import Path
from typing import Any

from cortex_compile.backends.protocol import ExportRequest
from cortex_compile.errors import EngineError

# Smaller tensors stay inside the graph, as dynamo's exporter does it.
_SMALLEST_EXTERNAL_BYTES = 1024


def write_by_torchscript(request: ExportRequest, path: Path, opset: int, ir_version: int) -> None:
    """
    Raises:
        EngineError: the trace would hold a value of the examples fixed; the line that takes it is named.
    """
    import onnx
    import torch
    from torch.jit._trace import TracerWarning

    traced = path.with_name("traced.onnx")
    axes: dict[str, dict[int, str]] = {name: {} for name in request.input_names}
    for index, axis in sorted(request.dynamic_axes):
        axes[request.input_names[index]][axis] = f"{request.input_names[index]}_{axis}"
    with warnings.catch_warnings(record=True) as caught:
        # torch hides the warnings that come from its own files, and many a predictor hides all.
        warnings.simplefilter("always")
        torch.onnx.export(
            request.module,
            request.examples,
            traced,
            dynamo=False,
            # The module's own mode, which the call was recorded in.
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamic_axes=axes,
            input_names=list(request.input_names),
            output_names=list(request.output_names),
            opset_version=opset,
            verbose=False,
        )
    for warning in caught:
        if issubclass(warning.category, TracerWarning):
            raise EngineError(_what_would_be_fixed(warning))
    model = onnx.load(traced)
    model.ir_version = ir_version
    if request.dynamic_axes:
        _free_output_sizes(model)
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        location=f"{path.name}.data",
        size_threshold=_SMALLEST_EXTERNAL_BYTES,
    )
    for file in path.parent.iterdir():
        if file.name not in (path.name, f"{path.name}.data"):
            file.unlink()


def _what_would_be_fixed(warning: warnings.WarningMessage) -> str:
    line = linecache.getline(warning.filename, warning.lineno).strip()
    what = str(warning.message).splitlines()[0].partition(". ")[0]
    place = f"{Path(warning.filename).name}:{warning.lineno}"
    return f"{place}: {line!r} takes a value from a tensor, which a trace would hold fixed ({what})"


def _free_output_sizes(model: Any) -> None:
    """The sizes of the outputs are those of the examples: which of them vary a trace cannot tell."""
    for output in model.graph.output:
        for axis, dimension in enumerate(output.type.tensor_type.shape.dim):
            dimension.dim_param = f"{output.name}_{axis}"
