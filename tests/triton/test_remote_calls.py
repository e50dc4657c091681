"""Calls from a predictor's process to a core, on a real server: too many of them, and torch's tensors by DLPack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as client
from tritonclient.grpc import model_config_pb2

from cortex_compile.launchers.embedded import EmbeddedServer

from .tiny_build import echo_build, python_model, write_model

# Asks the cores through the runtime itself.
ASKING = """
    import json
    import threading

    import numpy as np
    import torch
    import triton_python_backend_utils as pb_utils

    from cortex_compile.python_backend.errors import CoreOverloaded
    from cortex_compile.python_backend.remote import call_remote
    from cortex_compile.python_backend.tensors import tensor_of


    def ask_slow(outcomes):
        try:
            call_remote("api--slow", {"x": np.zeros((1, 1), np.uint8)}, ("y",))
            outcomes.append(200)
        except CoreOverloaded as overloaded:
            outcomes.append(overloaded.status_code)


    def overload():
        outcomes = []
        threads = [threading.Thread(target=ask_slow, args=(outcomes,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes


    def tensors():
        found = []
        for dtype in (torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool):
            for tensor in (torch.tensor([[0, 1], [2, 3], [1, 0]]).to(dtype), torch.zeros(0, 4, dtype=dtype)):
                given = tensor.t() if tensor.numel() else tensor
                name = str(dtype).partition(".")[2]
                (answer,) = call_remote(f"api--{name}", {"x": given}, ("y",))
                found.append([
                    str(answer.dtype), answer.dtype == dtype, torch.equal(answer, given), answer.is_contiguous(),
                    answer.data_ptr() != given.data_ptr() or not given.numel(),
                ])
                answer.zero_()
        return found


    class TritonPythonModel:
        def execute(self, requests):
            what = bytes(np.from_dlpack(pb_utils.get_input_tensor_by_name(requests[0], "x"))).decode()
            answer = json.dumps(globals()[what]()).encode()
            return [pb_utils.InferenceResponse([tensor_of("y", np.frombuffer(answer, np.uint8).copy())])]
"""

SLOW = """
    import time

    import numpy as np
    import triton_python_backend_utils as pb_utils

    from cortex_compile.python_backend.tensors import tensor_of


    class TritonPythonModel:
        def execute(self, requests):
            time.sleep(2)
            return [pb_utils.InferenceResponse([tensor_of("y", np.zeros((1, 1), np.uint8))]) for _ in requests]
"""

ECHO = """
    import triton_python_backend_utils as pb_utils

    from cortex_compile.python_backend.tensors import array_from, tensor_of


    class TritonPythonModel:
        def execute(self, requests):
            tensors = [array_from(pb_utils.get_input_tensor_by_name(request, "x")) for request in requests]
            return [pb_utils.InferenceResponse([tensor_of("y", tensor)]) for tensor in tensors]
"""

TYPES = {"float32": "FP32", "float16": "FP16", "int64": "INT64", "uint8": "UINT8", "bool": "BOOL"}


@pytest.fixture(scope="module")
def address(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("build")
    slow = python_model("api--slow")
    slow.max_batch_size = 1
    policy = slow.dynamic_batching.default_queue_policy
    policy.max_queue_size, policy.default_timeout_microseconds = 3, 1_000_000
    write_model(folder / "model_repository", slow, {"model.py": SLOW})
    for name, kind in TYPES.items():
        config: Any = model_config_pb2.ModelConfig(name=f"api--{name}", backend="python")
        config.input.add(name="x", data_type=f"TYPE_{kind}", dims=[-1, -1])
        config.output.add(name="y", data_type=f"TYPE_{kind}", dims=[-1, -1])
        config.instance_group.add(count=1, kind="KIND_CPU")
        write_model(folder / "model_repository", config, {"model.py": ECHO})
    build = echo_build(folder, "api", ASKING)
    server = EmbeddedServer([build], http_port=0, grpc_port=0, metrics_port=0)
    yield server.start(timeout_s=90).grpc
    server.stop()


def ask(address: str, what: str) -> Any:
    tensor = client.InferInput("x", [len(what)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(what.encode(), np.uint8))
    triton = client.InferenceServerClient(address)
    try:
        return json.loads(triton.infer("api", [tensor]).as_numpy("y").tobytes())
    finally:
        triton.close()


def test_calls_that_cannot_wait_are_503_and_those_that_waited_too_long_504(address: str) -> None:
    """One runs for two seconds, three wait and give up after one, the others find no room."""
    found = Counter(ask(address, "overload"))
    # How many depends on which come before the first is taken up.
    assert set(found) == {200, 503, 504}
    assert found[200] <= 2


def test_torchs_tensors_go_and_come_as_they_are(address: str) -> None:
    found = ask(address, "tensors")
    assert len(found) == 2 * len(TYPES)
    assert [each for each in found if not all(each[1:])] == []
