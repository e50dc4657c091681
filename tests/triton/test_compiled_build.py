"""What the compiler wrote, served by the real server: local and remote cores answer as the plain predictor does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from .processes import wait_until

DEEP = Path(__file__).parents[1] / "predictors" / "deep"

ROWS = [[0.5, -1.0, 2.0, 0.0], [3.0, 1.0, -2.0, 1.0], [0.0, 0.0, 1.0, 1.0], [9.0, -9.0, 0.5, 2.0]]


@pytest.fixture(scope="module")
def expected() -> list[list[float]]:
    """The scores of the plain predictor, in a process that knows nothing of us."""
    program = (
        "import json, predictor; p = predictor.PythonPredictor({});"
        f"print(json.dumps(p.predict({{'rows': {ROWS}}}, {{}})['scores']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=DEEP, capture_output=True, text=True, check=True)
    scores: list[list[float]] = json.loads(ended.stdout)
    return scores


def predict(client_module: Any, address: str, model: str, payload: Any, query: str = "") -> Any:
    client = client_module.InferenceServerClient(address)
    try:
        inputs = []
        for name, value in (
            ("payload", payload),
            ("context", {"content_type": "application/json", "query_string": query}),
        ):
            body = np.frombuffer(json.dumps(value).encode(), np.uint8)
            tensor = client_module.InferInput(name, list(body.shape), "UINT8")
            tensor.set_data_from_numpy(body)
            inputs.append(tensor)
        result = client.infer(model, inputs)
        assert json.loads(result.as_numpy("status").tobytes())["status_code"] == 200
        return json.loads(result.as_numpy("response").tobytes())
    finally:
        client.close()


@pytest.mark.parametrize("moved", [False, True], ids=["in place", "moved"])
def test_compiled_modules_answer_as_eager_ones(
    deep_builds: tuple[Path, Path],
    expected: list[list[float]],
    start_server: Callable[..., Any],
    tmp_path: Path,
    moved: bool,
) -> None:
    log: list[str] = []
    places = [shutil.copytree(build, tmp_path / build.name) for build in deep_builds] if moved else list(deep_builds)
    endpoints = start_server(*places, log=log.append).endpoints
    for model in ("deep-local", "deep-remote"):
        by_http = predict(tritonclient.http, endpoints.http, model, {"rows": ROWS})
        by_grpc = predict(tritonclient.grpc, endpoints.grpc, model, {"rows": ROWS})
        np.testing.assert_allclose(by_http["scores"], expected, rtol=1e-4, atol=1e-5)
        assert by_grpc == by_http
        labels = predict(tritonclient.grpc, endpoints.grpc, model, {"rows": ROWS}, "as=labels")
        assert labels == [["north", "east", "south", "west"][int(np.argmax(row))] for row in expected]
    for placement in ("local", "remote"):  # the log is read by a thread of its own
        words = f"runs on onnxruntime ({placement})"
        assert wait_until(lambda words=words: words in "\n".join(log), timeout_s=10)  # type: ignore[misc]


def test_the_time_of_compiled_models_is_told(deep_builds: tuple[Path, Path], start_server: Callable[..., Any]) -> None:
    endpoints = start_server(*deep_builds).endpoints
    client = tritonclient.grpc.InferenceServerClient(endpoints.grpc)
    try:
        body = np.frombuffer(json.dumps({"rows": ROWS}).encode(), np.uint8)
        tensor = tritonclient.grpc.InferInput("payload", list(body.shape), "UINT8")
        tensor.set_data_from_numpy(body)
        for model in ("deep-local", "deep-remote"):
            timing = json.loads(client.infer(model, [tensor]).as_numpy("status").tobytes())["timing"]
            assert timing["core_ms"] > 0
            assert timing["prepost_ms"] > 0
    finally:
        client.close()


def test_a_remote_core_is_a_model_with_the_modules_own_names(
    deep_builds: tuple[Path, Path], expected: list[list[float]], start_server: Callable[..., Any]
) -> None:
    endpoints = start_server(deep_builds[1]).endpoints
    client = tritonclient.grpc.InferenceServerClient(endpoints.grpc)
    try:
        tensor = tritonclient.grpc.InferInput("x", [len(ROWS), 4], "FP32")
        tensor.set_data_from_numpy(np.array(ROWS, np.float32))
        found = client.infer("deep-remote--net", [tensor]).as_numpy("output")
    finally:
        client.close()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_many_requests_at_once_are_each_answered_with_their_own(
    deep_builds: tuple[Path, Path], expected: list[list[float]], start_server: Callable[..., Any]
) -> None:
    endpoints = start_server(*deep_builds).endpoints

    def ask(number: int) -> None:
        model, row = ("deep-local", "deep-remote")[number % 2], number % len(ROWS)
        scores = predict(tritonclient.grpc, endpoints.grpc, model, {"rows": [ROWS[row]]})["scores"]
        np.testing.assert_allclose(scores, [expected[row]], rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(64)))
