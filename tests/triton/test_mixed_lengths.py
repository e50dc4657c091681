"""Calls of unlike lengths share batches in Triton, and each gets the answer that it would have had alone.

One process with one predictor that knows nothing of threads: without the passed turn no two calls could meet.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as client
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.compiler.reconfigure_build import reconfigure_build
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.compiler.write_build import write_both_manifests
from cortex_compile.python_backend.manifest import SharedRun, Variant, read_manifest, sha256_of, write_manifest

from .conftest import RunningServer
from .processes import wait_until

ENCODER = Path(__file__).parents[1] / "predictors" / "encoder"
CORE = "encoder--encoder"

# No two are equal, so without filling up no two calls could share a batch.
LENGTHS = [*range(5, 37), *range(40, 400, 15), 400]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    command = [sys.executable, "-m", "cortex_compile", str(ENCODER / "predictor.py"), "--output", str(folder / "build")]
    environment = {**os.environ, "CORTEX_COMPILE_CACHE": str(folder / "cache")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    dispatch = read_manifest(folder / "build" / "manifest.json").dispatch
    assert dispatch is not None
    assert (dispatch.kind, dispatch.turn_refused) == ("passed turn", None)
    let_calls_meet(folder / "build")
    return folder / "build"


def let_calls_meet(build: Path) -> None:
    """The core waits a moment for a batch, as if it were busy."""
    repository = build / "model_repository"
    manifest = read_manifest(build / "manifest.json")
    files = dict(manifest.files)
    for path in (repository / CORE / "config.pbtxt", repository / CORE / "configs" / "cpu.pbtxt"):
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        assert config.HasField("dynamic_batching")
        config.dynamic_batching.max_queue_delay_microseconds = 200_000
        path.write_text(text_format.MessageToString(config))
        files[path.relative_to(repository).as_posix()] = sha256_of(path)
    for folder in (build, repository / manifest.name / "1"):
        write_manifest(replace(manifest, files=files), folder / "manifest.json")


@pytest.fixture(scope="module")
def encoder() -> Any:
    """The predictor itself, which knows nothing of us."""
    specification = importlib.util.spec_from_file_location("plain_encoder", ENCODER / "predictor.py")
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.PythonPredictor({})


def test_calls_of_mixed_lengths_share_batches_and_are_answered_as_alone(
    build: Path, encoder: Any, start_server: Callable[..., RunningServer]
) -> None:
    connection = client.InferenceServerClient(start_server(build).endpoints.grpc)
    try:
        check_predictions(connection, encoder)
        assert executions_of(connection, len(LENGTHS)) < len(LENGTHS)
        assert predict(connection, []) == encoder.predict({"ids": []})
        check_direct_calls(connection, encoder, build)
    finally:
        connection.close()


def test_calls_of_mixed_lengths_share_runs_in_the_predictors_process(
    build: Path, encoder: Any, start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    way = Configuration("local", 1, 1, "passed turn", 16, shared_rows=8)
    manifest = reconfigure_build(build, shared, way)
    (core,) = manifest.cores
    # It is too small for a run to be worth sharing.
    cores = (replace(core, shared_run=SharedRun(8, 8 * 64), call_ms=5.0),)
    write_both_manifests(replace(manifest, cores=cores), shared)
    connection = client.InferenceServerClient(start_server(shared).endpoints.grpc)
    try:
        check_predictions(connection, encoder)
    finally:
        connection.close()


def check_predictions(connection: Any, encoder: Any) -> None:
    chance = random.Random(1)
    texts = [[chance.randrange(100) for _ in range(length)] for length in LENGTHS]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda ids: predict(connection, ids), texts))
    for ids, answer in zip(texts, answers, strict=True):
        expected = encoder.predict({"ids": ids})
        assert answer["length"] == len(ids)
        np.testing.assert_allclose(answer["mean"], expected["mean"], rtol=1e-3, atol=1e-4)


def check_direct_calls(connection: Any, encoder: Any, build: Path) -> None:
    """A client that fills its calls up as the manifest says."""
    import torch

    (core,) = read_manifest(build / "manifest.json").cores
    (variant,) = core.variants
    texts = [list(range(length)) for length in range(41, 57)]
    known = len(LENGTHS) + 1  # of the predictions
    before = executions_of(connection, known)
    with ThreadPoolExecutor(len(texts)) as threads:
        answers = list(threads.map(lambda ids: call_core(connection, ids, variant), texts))
    for ids, (states, mean) in zip(texts, answers, strict=True):
        with torch.no_grad():
            expected = encoder.encoder(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
        np.testing.assert_allclose(states, expected["states"], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(mean, expected["mean"], rtol=1e-3, atol=1e-4)
    assert executions_of(connection, known + len(texts)) - before < len(texts) / 2


def call_core(connection: Any, ids: list[int], variant: Variant) -> tuple[Any, Any]:
    (padding,) = variant.paddings
    size = min(bucket for bucket in padding.buckets if bucket >= len(ids))
    added = size - len(ids)
    tensors = {
        "ids": np.array([[*ids, *[padding.fills["ids"]] * added]], np.int64),
        padding.mask: np.array([[1] * len(ids) + [0] * added], np.int64),
    }
    found = connection.infer(CORE, [tensor_of(name, array, "INT64") for name, array in tensors.items()])
    return found.as_numpy("states")[:, : len(ids)], found.as_numpy("mean")


def predict(connection: Any, ids: list[int]) -> Any:
    body = np.frombuffer(json.dumps({"ids": ids}).encode(), np.uint8)
    found = connection.infer("encoder", [tensor_of("payload", body, "UINT8")])
    assert json.loads(found.as_numpy("status").tobytes())["status_code"] == 200
    return json.loads(found.as_numpy("response").tobytes())


def tensor_of(name: str, array: np.ndarray[Any, Any], data_type: str) -> Any:
    tensor = client.InferInput(name, list(array.shape), data_type)
    tensor.set_data_from_numpy(array)
    return tensor


def executions_of(connection: Any, inferences: int) -> int:
    """In how many batches the core answered so many calls, which is all that it got. Triton counts after it answers."""

    def counts() -> tuple[int, int]:
        (found,) = connection.get_inference_statistics(CORE).model_stats
        return found.inference_count, found.execution_count

    assert wait_until(lambda: counts()[0] >= inferences, timeout_s=20), counts()
    answered, executions = counts()
    assert answered == inferences
    return executions
