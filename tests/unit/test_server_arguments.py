from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.arguments import ServerSettings, server_argument, server_arguments

SETTINGS = ServerSettings(
    repositories=(Path("/builds/a/model_repository"), Path("/builds/b/model_repository")),
    models=("a", "a--encoder", "b"),
    address="127.0.0.1",
    http_port=1,
    grpc_port=2,
    metrics_port=3,
    token="secret",
    hardware="cpu",
    exit_timeout_s=7,
)


def test_every_repository_and_every_model_is_passed() -> None:
    arguments = server_arguments(SETTINGS, (2, 51))
    assert [item for item in arguments if item.startswith("--model-repository=")] == [
        "--model-repository=/builds/a/model_repository",
        "--model-repository=/builds/b/model_repository",
    ]
    loaded = [item for item in arguments if item.startswith("--load-model=")]
    assert loaded == ["--load-model=a", "--load-model=a--encoder", "--load-model=b"]
    assert "--model-control-mode=explicit" in arguments


def test_all_three_ports_are_bound_to_the_address() -> None:
    arguments = server_arguments(SETTINGS, (2, 51))
    for service, port in (("http", 1), ("grpc", 2), ("metrics", 3)):
        assert f"--{service}-address=127.0.0.1" in arguments
        assert f"--{service}-port={port}" in arguments


def test_what_changes_the_server_needs_the_token_over_both_protocols() -> None:
    restricted = "model-repository,shared-memory,trace,logging:cortex-compile-token=secret"
    arguments = server_arguments(SETTINGS, (2, 51))
    assert f"--http-restricted-api={restricted}" in arguments
    assert f"--grpc-restricted-protocol={restricted}" in arguments


def test_models_take_turns_only_where_there_is_something_to_wait_for() -> None:
    assert not any("rate-limit" in item for item in server_arguments(SETTINGS, (2, 51)))
    arguments = server_arguments(replace(SETTINGS, slots={"gpu": 2}), (2, 51))
    assert {"--rate-limit=execution_count", "--rate-limit-resource=gpu:2"} < set(arguments)


def test_backend_settings_are_one_argument_each() -> None:
    settings = replace(SETTINGS, backend_config={"python": {"a": "1", "b": "2"}}, backend_directory=Path("/backends"))
    arguments = server_arguments(settings, (2, 51))
    assert {"--backend-config=python,a=1", "--backend-config=python,b=2", "--backend-directory=/backends"} < set(
        arguments
    )


def test_client_shared_memory_is_refused_where_the_server_can() -> None:
    assert not any("allow-client-shm" in item for item in server_arguments(SETTINGS, (2, 51)))
    assert "--allow-client-shm=false" in server_arguments(SETTINGS, (2, 70))


def test_an_option_that_the_version_does_not_know_is_an_error() -> None:
    with pytest.raises(LaunchError, match=r"tritonserver 2\.51 does not know --allow-client-shm; it came with 2\.68"):
        server_argument("allow-client-shm", "false", (2, 51))
    with pytest.raises(LaunchError, match="--http-adress is not an option"):
        server_argument("http-adress", "127.0.0.1", (2, 70))


def test_a_server_older_than_the_table_is_an_error() -> None:
    with pytest.raises(LaunchError, match=r"tritonserver 2\.50 does not know --"):
        server_arguments(SETTINGS, (2, 50))
