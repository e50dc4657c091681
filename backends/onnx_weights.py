"""Move the external data of an ONNX graph into the weights file of its module."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.backends.weights_file import WeightsFile


def share_weights(graph: Path, target: Path, weights: WeightsFile) -> None:
    """Write ``graph`` to ``target`` with every external tensor in ``weights``, which must stand beside ``target``.

    ONNX Runtime refuses external data outside the graph's own folder (1.31: "escapes model directory"). The tensors
    are copied one by one, so no more than one of them is in memory.
    """
    import onnx
    from onnx.external_data_helper import set_external_data

    model = onnx.load(graph, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        source = graph.parent / place["location"]
        with source.open("rb") as file:
            file.seek(int(place.get("offset", 0)))
            values = file.read(int(place["length"]) if "length" in place else -1)
        # set_external_data looks at raw_data to decide whether the tensor may be external at all.
        tensor.raw_data = b"-"
        set_external_data(tensor, weights.path.name, weights.offset_of(values), len(values))
        tensor.ClearField("raw_data")
    target.write_bytes(model.SerializeToString())
