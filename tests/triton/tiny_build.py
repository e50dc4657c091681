"""Builds by hand, as small as they can be: real ones would cost a compilation in every test of the server."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Manifest, sha256_of, write_manifest

ECHO_MODEL = """
    import ctypes
    import os

    import numpy as np
    import triton_python_backend_utils as pb_utils


    class TritonPythonModel:
        def execute(self, requests):
            return [pb_utils.InferenceResponse([self.echo(request)]) for request in requests]

        def echo(self, request):
            array = np.array(np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "x")))
            capsule = array.__dlpack__()
            forget = ctypes.pythonapi.PyCapsule_SetDestructor
            forget.argtypes = (ctypes.py_object, ctypes.c_void_p)
            forget(capsule, None)
            return pb_utils.Tensor.from_dlpack("y", capsule)
"""


def python_model(name: str) -> model_config_pb2.ModelConfig:
    """The config of a model of the Python backend: UINT8 vector ``x`` in, ``y`` out."""
    return model_config_pb2.ModelConfig(
        name=name,
        backend="python",
        max_batch_size=0,
        input=[model_config_pb2.ModelInput(name="x", data_type="TYPE_UINT8", dims=[-1])],
        output=[model_config_pb2.ModelOutput(name="y", data_type="TYPE_UINT8", dims=[-1])],
        instance_group=[model_config_pb2.ModelInstanceGroup(count=1, kind="KIND_CPU")],
    )


def write_model(repository: Path, config: model_config_pb2.ModelConfig, files: Mapping[str, str | bytes]) -> None:
    """One model of a repository; ``files`` are those of its version folder."""
    version = repository / config.name / "1"
    version.mkdir(parents=True)
    (repository / config.name / "config.pbtxt").write_text(text_format.MessageToString(config))
    for name, content in files.items():
        data = content if isinstance(content, bytes) else textwrap.dedent(content).encode()
        (version / name).write_bytes(data)


def write_build(folder: Path, name: str) -> Path:
    """Turn ``folder``, whose model_repository/ is filled, into a build of the API ``name``."""
    repository = folder / "model_repository"
    files = {
        str(path.relative_to(repository)): sha256_of(path) for path in sorted(repository.rglob("*")) if path.is_file()
    }
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=name,
        endpoint=name,
        predictor="predictor.py",
        config={},
        env={},
        python_path=None,
        log_level="info",
        processes_per_replica=1,
        threads_per_process=1,
        max_replica_concurrency=1024,
        requirements=(),
        cores=(),
        compiled_with={},
        files=files,
    )
    write_manifest(manifest, folder / "manifest.json")
    write_manifest(manifest, repository / name / "1" / "manifest.json")
    return folder


def echo_build(folder: Path, name: str = "echo", model: str = ECHO_MODEL, instances: int = 1) -> Path:
    """A build of one Python model, by default one that answers what it was asked."""
    config = python_model(name)
    config.instance_group[0].count = instances
    write_model(folder / "model_repository", config, {"model.py": model})
    return write_build(folder, name)
