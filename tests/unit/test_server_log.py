from __future__ import annotations

from cortex_compile.launchers.server_log import LoadFailure, read_complaint, read_load_failures

TIME = "2026-11-22T10:54:29Z"


def test_the_frame_of_the_users_project_is_named() -> None:
    log = (
        f"{TIME} E 1 model_lifecycle.cc:642] \"failed to load 'api' version 1: Internal: KeyError: 'model'\\n\\nAt:\\n"
        "  /usr/lib/python3.11/json/decoder.py(354): raw_decode\\n"
        "  /b/model_repository/api/1/project/predictor.py(12): __init__\\n"
        '  /b/model_repository/api/1/_runtime/model.py(40): initialize\\n"'
    )
    where = "/b/model_repository/api/1/project/predictor.py:12"
    assert read_load_failures(log) == [LoadFailure("api", f"KeyError: 'model' ({where})")]


def test_our_own_errors_are_told_as_they_are() -> None:
    said = "/b/model_repository/api/1/project/predictor.py:3: ValueError: no weights"
    log = (
        f"{TIME} E 1 model_lifecycle.cc:642] \"failed to load 'api' version 1: Internal: PredictorError: {said}"
        '\\n\\nAt:\\n  /b/model_repository/api/1/_runtime/load_predictor.py(9): create_predictor\\n"'
    )
    assert read_load_failures(log) == [LoadFailure("api", said)]


def test_each_model_that_failed_is_listed_once() -> None:
    line = "{} E 1 model_lifecycle.cc:642] \"failed to load '{}' version 1: Internal: boom\""
    log = "\n".join(line.format(TIME, model) for model in ("a", "b", "a"))
    assert read_load_failures(log) == [LoadFailure("a", "boom"), LoadFailure("b", "boom")]


def test_a_log_without_a_failure_of_a_model_has_none() -> None:
    assert read_load_failures(f"{TIME} I 1 model_lifecycle.cc:839] \"successfully loaded 'a'\"\n") == []


def test_the_servers_complaint_is_its_last_error() -> None:
    log = (
        f'+---+\n{TIME} E 1 main.cc:1] "first"\n{TIME} I 1 main.cc:2] "news"\nerror: creating server: no such thing\n\n'
    )
    assert read_complaint(log) == "creating server: no such thing"


def test_a_refused_option_is_told_and_not_the_help() -> None:
    log = "tritonserver: unrecognized option '--nothing'\nUsage: tritonserver [options]\n  --help\n\tPrint usage\n"
    assert read_complaint(log) == "tritonserver: unrecognized option '--nothing'"


def test_a_server_that_said_nothing_is_told_so() -> None:
    assert read_complaint("\n") == "it said nothing"
