"""post_predict on the real server: it delays nobody, and all of it is done before the server ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tritonclient.grpc

from cortex_compile.python_backend.manifest import Dispatch

from .clients import status_of
from .conftest import RunningServer
from .predictor_build import predictor_build
from .processes import wait_until
from .test_predictor_model import infer


def is_ready(address: str) -> bool:
    try:
        return status_of(address, "/v2/health/ready") == 200
    except OSError:
        return False


@pytest.mark.parametrize("in_execute", [False, True])
def test_post_predict_is_done_before_the_server_ends(
    start_server: Callable[..., RunningServer], tmp_path: Path, in_execute: bool
) -> None:
    done, go = tmp_path / "done", tmp_path / "go"
    config, dispatch = {"done": str(done), "go": str(go)}, Dispatch("in turn", 1, None, in_execute=in_execute)
    running = start_server(predictor_build(tmp_path / "build", "afterwards", config=config, dispatch=dispatch))
    try:
        for number in range(5):
            found = infer(tritonclient.grpc, running.endpoints.grpc, "afterwards", payload=str(number).encode())
            assert found["response"] == str(number).encode()
        assert not done.exists()
        stopping = threading.Thread(target=running.server.stop)
        stopping.start()
        assert wait_until(lambda: not is_ready(running.endpoints.http), timeout_s=20)
        threading.Timer(3, go.touch).start()
        stopping.join(timeout=30)
    finally:
        go.touch()
    assert done.read_text() == "0 1 2 3 4 "
