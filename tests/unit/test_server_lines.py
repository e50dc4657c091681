from __future__ import annotations

from cortex_compile.cli.server_lines import ServerLines, readable

LOG = """\
2026-11-22T10:59:44Z W 9493 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"
2026-11-22T10:59:44Z E 9493 server.cc:241] "CudaDriverHelper has not been initialized."
loading the model: 50 %
2026-11-22T10:59:44Z I 9493 server.cc:604] 
+------------------+------+
| Repository Agent | Path |
+------------------+------+

| a line that the predictor printed |

2026-11-22T10:59:44Z I 9493 model.py:57] "api_0_0: core model is compiled"
Error: Failed to initialize NVML
2026-11-22T10:59:44Z E 9493 python_be.cc:1] "Stub process 'api_0_0' is not healthy."
"""


def test_the_predictor_is_heard_and_triton_only_when_it_fails() -> None:
    lines = ServerLines()
    heard = [line for line in LOG.splitlines() if lines.is_wanted(line)]
    assert heard == [
        "loading the model: 50 %",
        "| a line that the predictor printed |",
        "",
        '2026-11-22T10:59:44Z I 9493 model.py:57] "api_0_0: core model is compiled"',
        "2026-11-22T10:59:44Z E 9493 python_be.cc:1] \"Stub process 'api_0_0' is not healthy.\"",
    ]


def test_a_model_that_does_not_load_is_left_to_the_launchers_error() -> None:
    lines = ServerLines()
    told = """\
loading the model
2026-11-22T15:15:23Z E 20553 backend_model.cc:692] "ERROR: Failed to create instance: PredictorError: predictor.py:3"
2026-11-22T15:15:23Z E 20553 model_lifecycle.cc:642] "failed to load 'bad' version 1: Internal: PredictorError"
error: creating server: Invalid argument - load failed for model 'bad': PredictorError: predictor.py:3

At:
  signatures.py(111): _check_method
;
"""
    assert [line for line in told.splitlines() if lines.is_wanted(line)] == ["loading the model"]


def test_nor_is_what_its_python_process_says_of_it() -> None:
    lines = ServerLines()
    told = """\
loading the model
I1122 20:44:40.623900 16 pb_stub.cc:366]  Failed to initialize Python stub: ModuleNotFoundError: No module named 'numpy'

At:
  /builds/0/echo/model_repository/echo/1/_runtime/triton_call.py(12): <module>
  <frozen importlib._bootstrap>(241): _call_with_frames_removed

what another predictor prints
Signal (15) received.
"""
    heard = [line for line in told.splitlines() if lines.is_wanted(line)]
    assert heard == ["loading the model", "what another predictor prints"]


def test_a_model_that_does_not_load_again_is_told_of() -> None:
    lines = ServerLines()
    assert not lines.is_wanted(
        '2026-11-22T15:15:20Z I 20553 grpc_server.cc:2558] "Started GRPCInferenceService at x:1"'
    )
    assert lines.is_wanted(
        "2026-11-22T15:15:23Z E 20553 model_lifecycle.cc:642] \"failed to load 'bad' version 1: boom\""
    )


def test_a_traceback_is_shown_in_lines() -> None:
    logged = r'2026-11-22T10:59:44Z E 9493 logs.py:55] "api_0_0: KeyError: \"a\\b\"\nTraceback:\n  File \u001b[1m"'
    assert readable(logged) == (
        '2026-11-22T10:59:44Z E api_0_0: KeyError: "a\\b"\n    Traceback:\n      File \\u001b[1m'
    )


def test_other_lines_are_shown_as_they_are() -> None:
    for line in (r"a predictor's own \n", r'2026-11-22T10:59:44Z E 9493 python_be.cc:1] "one\ntwo"', 'x.py:1] "a\\n"'):
        assert readable(line) == line
