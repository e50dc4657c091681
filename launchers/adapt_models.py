"""The models of a build that was taken, made fit to be loaded beside those of the build before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile.errors import BuildError
from cortex_compile.launchers.served_folder import BuildCopy

__all__ = ["SampleRequest", "adapt_models", "set_warm_up"]


@dataclass(frozen=True)
class SampleRequest:
    """A sample as the predictor's model takes it, and the status that it was answered with when it was compiled."""

    name: str
    payload: bytes
    context: bytes
    status_code: int


def adapt_models(copy: BuildCopy) -> None:
    """Let the models be loaded by any name, and the predictor call the cores by those that they have now.

    Raises:
        BuildError: a config cannot be read.
    """
    for folder in copy.models.values():
        for path in _configs_of(folder):
            config = _read(path)
            config.ClearField("name")
            _write(path, config)
    names = {name.removesuffix(f"--{copy.number}"): name for name in copy.cores}
    _rename_cores(copy.models[copy.manifest.name] / "1" / "manifest.json", names)


def set_warm_up(copy: BuildCopy, samples: Sequence[SampleRequest]) -> None:
    """Let Triton ask the samples of each new instance of the predictor before it is given requests; without any, none.

    Raises:
        BuildError: a config cannot be read.
    """
    folder = copy.models[copy.manifest.name]
    (folder / "warmup").mkdir(exist_ok=True)
    for path in _configs_of(folder):
        config = _read(path)
        config.ClearField("model_warmup")
        for index, sample in enumerate(samples):
            warm_up = config.model_warmup.add(name=sample.name, batch_size=1)
            for tensor, data in (("payload", sample.payload), ("context", sample.context)):
                file = folder / "warmup" / f"{index}.{tensor}"
                file.write_bytes(data)
                given = warm_up.inputs[tensor]
                given.data_type, given.input_data_file = _uint8(), file.name
                given.dims.append(len(data))
        _write(path, config)


def _rename_cores(path: Path, names: dict[str, str]) -> None:
    # As JSON: the build's own runtime, which reads it, may be older than this one, and refuse what it does not know.
    manifest = json.loads(path.read_text())
    for core in manifest["cores"]:
        if core["placement"] == "remote":
            for variant in core["variants"]:
                variant["graph"] = names[variant["graph"]]
    path.unlink()  # the file is the build's, too
    path.write_text(json.dumps(manifest))


def _configs_of(folder: Path) -> list[Path]:
    return [folder / "config.pbtxt", *sorted((folder / "configs").glob("*.pbtxt"))]


def _read(path: Path) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise BuildError(f"{path}: cannot be read ({error}). Compile again.") from error


def _write(path: Path, config: Any) -> None:
    from google.protobuf import text_format

    path.unlink()  # the file is the build's, too
    path.write_text(text_format.MessageToString(config))


def _uint8() -> int:
    from tritonclient.grpc import model_config_pb2

    return int(model_config_pb2.TYPE_UINT8)
