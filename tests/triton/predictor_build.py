"""Builds with the real runtime in them, written by hand: no compiler, no cores."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Manifest, sha256_of, write_manifest

ROOT = Path(__file__).parents[2]

Tensors = dict[str, tuple[str, list[int]]]


def write_model(repository: Path, name: str, inputs: Tensors, outputs: Tensors, model_file: Path | str) -> Path:
    """A Python model with the runtime beside it; tensors are (data type, dims), inputs optional. Its version folder."""
    config = model_config_pb2.ModelConfig(
        name=name,
        backend="python",
        max_batch_size=0,
        input=[
            model_config_pb2.ModelInput(name=tensor, data_type=f"TYPE_{dtype}", dims=dims, optional=True)
            for tensor, (dtype, dims) in inputs.items()
        ],
        output=[
            model_config_pb2.ModelOutput(name=tensor, data_type=f"TYPE_{dtype}", dims=dims)
            for tensor, (dtype, dims) in outputs.items()
        ],
        instance_group=[model_config_pb2.ModelInstanceGroup(count=1, kind="KIND_CPU")],
    )
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(text_format.MessageToString(config))
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "python_backend", version / "_runtime", ignore=ignore)
    text = model_file if isinstance(model_file, str) else model_file.read_text()
    (version / "model.py").write_text(text)
    return version


def write_build(folder: Path, name: str, **settings: Any) -> Path:
    """Turn ``folder``, whose model_repository/ is filled, into a build; ``settings`` are fields of the manifest."""
    repository = folder / "model_repository"
    paths = [path for path in sorted(repository.rglob("*")) if path.is_file()]
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=name,
        endpoint=f"/{name}",
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
        files={str(path.relative_to(repository)): sha256_of(path) for path in paths},
    )
    manifest = dataclasses.replace(manifest, **settings)
    write_manifest(manifest, folder / "manifest.json")
    write_manifest(manifest, repository / name / "1" / "manifest.json")
    return folder


def predictor_build(folder: Path, predictor: str, name: str | None = None, **settings: Any) -> Path:
    """The build that serves tests/predictors/PREDICTOR as it is; by default of its name, with ``-`` for ``_``."""
    name = name or predictor.replace("_", "-")
    byte_vector = ("UINT8", [-1])
    sizes = ("INT64", [2, -1])
    version = write_model(
        folder / "model_repository",
        name,
        {"payload": byte_vector, "context": byte_vector, "_sizes": sizes},
        {"response": byte_vector, "status": byte_vector, "_sizes": sizes},
        ROOT / "model_repo_template" / "model.py",
    )
    project = ROOT / "tests" / "predictors" / predictor
    shutil.copytree(project, version / "project", ignore=shutil.ignore_patterns("__pycache__"))
    return write_build(folder, name, **settings)
