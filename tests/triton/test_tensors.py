"""python_backend/tensors.py in a real stub: right values and no growth, on the newest numpy and on the oldest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from .predictor_build import write_build, write_model

OLD_NUMPY = "1.26.4"
ROUNDS = 1500
WARM_UP = 300
# Per round about 0.5 MB go in and out; one copy kept of any tensor would be far beyond this after all rounds.
GROWTH_LIMIT_MB = 40
SIZE = 65_536

ECHO = """
import os

import numpy as np

from ._runtime.tensors import array_from, bytes_from, tensor_of


class TritonPythonModel:
    def execute(self, requests):
        import triton_python_backend_utils as pb_utils

        return [pb_utils.InferenceResponse([*self.echo(request), *self.about()]) for request in requests]

    def echo(self, request):
        for tensor in request.inputs():
            array = array_from(tensor)
            assert array.flags.writeable
            if tensor.name() == "uint8":
                # Also what cannot be shared as it is: read-only, and not contiguous.
                array = np.frombuffer(bytes_from(tensor), np.uint8)
            elif tensor.name() == "fp32":
                array = np.repeat(array, 2)[::2]
            yield tensor_of(tensor.name(), array)

    def about(self):
        resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        yield tensor_of("resident", np.array([resident]))
        yield tensor_of("numpy", np.array([int(np.__version__.split(".")[0])]))
"""

CALLER = """
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ._runtime.remote import RemoteCallError, call_remote
from ._runtime.tensors import array_from, tensor_of


class TritonPythonModel:
    def initialize(self, args):
        # As the predictor's threads: started while the model loads, used later.
        self.threads = ThreadPoolExecutor(1)
        self.threads.submit(int).result()

    def execute(self, requests):
        import triton_python_backend_utils as pb_utils

        answers = []
        for request in requests:
            sender = request.get_response_sender()
            array = array_from(request.inputs()[0])
            self.threads.submit(self.answer, sender, array)
        return [None] * len(requests)

    def answer(self, sender, array):
        import triton_python_backend_utils as pb_utils

        inputs = {"fp32": array, "int64": np.arange(3)}
        fp32, int64 = call_remote("echo", inputs, ("fp32", "int64"))
        int64[0] = 7
        complaints = []
        for model, outputs in (("nothing", ("fp32",)), ("echo", ("fp32", "absent"))):
            try:
                call_remote(model, inputs, outputs)
            except RemoteCallError as error:
                complaints.append(str(error))
        text = np.frombuffer(" | ".join(complaints).encode(), np.uint8)
        tensors = [tensor_of("fp32", fp32), tensor_of("int64", int64), tensor_of("uint8", text)]
        sender.send(pb_utils.InferenceResponse(tensors), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

VECTORS = {"uint8": "UINT8", "bool": "BOOL", "fp16": "FP16", "fp32": "FP32", "int64": "INT64", "empty": "UINT8"}


def echo_build(folder: Path) -> Path:
    tensors = {name: (dtype, [-1, -1] if name == "bool" else [-1]) for name, dtype in VECTORS.items()}
    # The last is declared and never sent.
    about = {"resident": ("INT64", [1]), "numpy": ("INT64", [1]), "absent": ("FP32", [-1])}
    write_model(folder / "model_repository", "echo", tensors, tensors | about, ECHO)
    outputs = {name: (VECTORS[name], [-1]) for name in ("fp32", "int64", "uint8")}
    write_model(folder / "model_repository", "echo--caller", {"fp32": ("FP32", [-1])}, outputs, CALLER)
    return write_build(folder, "echo")


@pytest.fixture(scope="session")
def old_numpy_environment(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """An environment with the oldest numpy that the runtime works on, kept between runs."""
    if sys.version_info >= (3, 13):
        pytest.skip(f"numpy {OLD_NUMPY} has no wheel for Python 3.13")
    environment = pytestconfig.cache.mkdir(
        f"numpy-{OLD_NUMPY}-python-{sys.version_info.major}.{sys.version_info.minor}"
    )
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        installed = subprocess.run([*pip, f"numpy=={OLD_NUMPY}"], capture_output=True, text=True)
        if installed.returncode != 0:
            pytest.skip(f"pip cannot install numpy {OLD_NUMPY}: {installed.stderr.strip().splitlines()[-1:]}")
        (environment / "complete").touch()
    return environment


@pytest.mark.parametrize("numpy_major", [1, 2])
def test_values_are_right_and_memory_does_not_grow(
    start_server: Callable[..., Any],
    tmp_path: Path,
    numpy_major: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if numpy_major == 1:
        # The server's Python is the one of the environment that the launcher is in.
        monkeypatch.setattr(sys, "prefix", str(request.getfixturevalue("old_numpy_environment")))
    log: list[str] = []
    running = start_server(echo_build(tmp_path / "b"), log=log.append)
    client = tritonclient.grpc.InferenceServerClient(running.endpoints.grpc)
    random = np.random.default_rng(0)
    resident = {}
    for number in range(ROUNDS):
        sent = make_tensors(random)
        found = client.infer("echo", [grpc_input(name, array) for name, array in sent.items()])
        for name, array in sent.items():
            np.testing.assert_array_equal(found.as_numpy(name), array)
            assert found.as_numpy(name).dtype == array.dtype
        resident[number] = int(found.as_numpy("resident")[0])
        assert int(found.as_numpy("numpy")[0]) == numpy_major
    client.close()
    grown_mb = (resident[ROUNDS - 1] - resident[WARM_UP]) / 1e6
    assert grown_mb < GROWTH_LIMIT_MB
    running.server.stop()
    assert not [line for line in log if "Exception ignored" in line or "dltensor" in line]


def test_call_of_another_model_from_a_thread_that_is_older_than_the_model(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    endpoints = start_server(echo_build(tmp_path / "b")).endpoints
    client = tritonclient.grpc.InferenceServerClient(endpoints.grpc)
    array = np.linspace(0, 1, 5, dtype=np.float32)
    for _ in range(20):
        found = client.infer("echo--caller", [grpc_input("fp32", array)], client_timeout=20)
        np.testing.assert_array_equal(found.as_numpy("fp32"), array)
        np.testing.assert_array_equal(found.as_numpy("int64"), [7, 1, 2])
        first, second = found.as_numpy("uint8").tobytes().decode().split(" | ")
        assert first.startswith("model 'nothing': ")
        assert second.startswith("model 'echo'")
        assert "without ['absent']" in second
    client.close()


def make_tensors(random: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "uint8": random.integers(0, 256, SIZE, dtype=np.uint8),
        "bool": random.integers(0, 2, (3, 5)).astype(bool),
        "fp16": random.standard_normal(1000).astype(np.float16),
        "fp32": random.standard_normal(SIZE).astype(np.float32),
        "int64": random.integers(-(2**62), 2**62, 7),
        "empty": np.zeros(0, np.uint8),
    }


def grpc_input(name: str, array: np.ndarray[Any, Any]) -> tritonclient.grpc.InferInput:
    tensor = tritonclient.grpc.InferInput(name, list(array.shape), VECTORS[name])
    tensor.set_data_from_numpy(array)
    return tensor
