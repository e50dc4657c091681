"""What the facade takes from Triton's metrics, and what it makes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cortex_compile.facade.core_figures import CoreFigures

TEXT = """\
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_count{model="iris",version="1"} 3
# HELP cortex_compile_compiled_calls_total Calls of a compiled module that its graph answered.
# TYPE cortex_compile_compiled_calls_total counter
cortex_compile_compiled_calls_total{api="iris",module="predictor.nets['a']"} 7
cortex_compile_compiled_calls_total{api="iris-2",module="predictor.net"} 9
# HELP cortex_compile_drift 1 where a module stays eager.
# TYPE cortex_compile_drift gauge
cortex_compile_drift{api="iris",module="predictor.nets['a']",reason="its \\"weights\\" differ"} 1
cortex_compile_drift{api="iris",module="predictor.nets['a']",reason="torch is 1"} 1
cortex_compile_drift{api="iris",module="predictor.nets['b']",reason="its weights differ"} 0
cortex_compile_drift{api="iris-2",module="predictor.net",reason="its weights differ"} 1
"""


@pytest.fixture
def triton() -> Iterator[str]:
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(TEXT.encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_only_the_figures_of_these_apis_are_passed_on(triton: str) -> None:
    text = asyncio.run(CoreFigures(triton, ["iris"], 5).as_text()).decode()
    assert text == "".join(line for line in TEXT.splitlines(True) if "iris-2" not in line and "nv_" not in line)


def test_drift_by_api_and_module(triton: str) -> None:
    drift = asyncio.run(CoreFigures(triton, ["iris", "other"], 5).drift())
    assert drift == {"iris": {"predictor.nets['a']": 'its "weights" differ; torch is 1'}}
    assert asyncio.run(CoreFigures(triton, ["other"], 5).drift()) == {}


def test_without_triton_s_metrics_nothing_is_claimed(caplog: pytest.LogCaptureFixture) -> None:
    for address in ("127.0.0.1:9", None):
        figures = CoreFigures(address, ["iris"], 5)
        assert asyncio.run(figures.drift()) is None
        assert asyncio.run(figures.as_text()) == b""
    (line,) = caplog.messages  # once, and not where none were to be read
    assert line.startswith("Triton's metrics at 127.0.0.1:9 cannot be read (")
