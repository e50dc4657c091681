"""A start that cannot be is one line that says why, and nothing is left running."""

from __future__ import annotations

import os
import re
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from cortex_compile.errors import BuildError, LaunchError, UsageError
from cortex_compile.launchers import server_folder
from cortex_compile.launchers.embedded import EmbeddedServer

from .conftest import RunningServer
from .processes import regions_of
from .tiny_build import echo_build, python_model, write_build, write_model

FAILS_IN_THE_PROJECT = """
    import importlib.util
    from pathlib import Path

    class TritonPythonModel:
        def initialize(self, args):
            path = Path(__file__).with_name("project") / "predictor.py"
            spec = importlib.util.spec_from_file_location("predictor", path)
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


@pytest.mark.parametrize("which", ["http_port", "grpc_port", "metrics_port"])
def test_a_port_in_use_is_named_with_its_flag(installed_server: None, tmp_path: Path, which: str) -> None:
    build = echo_build(tmp_path / "echo")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = EmbeddedServer([build], **{"http_port": 0, "grpc_port": 0, "metrics_port": 0, which: port})
        with pytest.raises(LaunchError, match=rf"Port {port} .*address already in use.*--triton-{which[:4]}"):
            server.start()
    assert server.poll() is None


def test_a_model_that_fails_shows_the_users_own_exception_and_line(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    repository = tmp_path / "model_repository"
    write_model(repository, python_model("broken"), {"model.py": FAILS_IN_THE_PROJECT})
    predictor = repository / "broken" / "1" / "project" / "predictor.py"
    predictor.parent.mkdir()
    predictor.write_text("import json\n\nSETTINGS = json.loads('{\"a\": }')\n")
    with pytest.raises(LaunchError) as raised:
        start_server(write_build(tmp_path, "broken"), echo_build(tmp_path / "other", "echo"))
    message = str(raised.value)
    assert "'broken' does not load: JSONDecodeError: Expecting value: line 1 column 7 (char 6)" in message
    assert f"({predictor}:3)" in message
    assert "\n" not in message
    log = Path(re.search(r"whole log is (\S+)\.$", message)[1])
    assert "JSONDecodeError" in log.read_text()
    assert regions_of(os.getpid()) == []


def test_a_model_that_ends_its_process_is_told_so(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"'echo' does not load: its Python process ended while it was starting"):
        start_server(echo_build(tmp_path / "echo", model="import os; os._exit(3)"))


def test_a_model_that_never_gets_ready_is_given_up(installed_server: None, tmp_path: Path) -> None:
    model = textwrap.dedent("""
        import time
        class TritonPythonModel:
            def initialize(self, args):
                time.sleep(60)
    """)
    server = EmbeddedServer([echo_build(tmp_path / "echo", model=model)], http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(LaunchError, match=r"not ready within 1 s"):
        server.start(timeout_s=1)
    assert regions_of(os.getpid()) == []


def test_a_config_that_triton_refuses_is_told(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    config = python_model("echo")
    config.backend = "nothing"
    write_model(tmp_path / "model_repository", config, {"model.py": ""})
    with pytest.raises(LaunchError, match=r"unable to find backend library for backend 'nothing'"):
        start_server(write_build(tmp_path, "echo"))


def test_two_builds_of_one_name_are_both_named(tmp_path: Path) -> None:
    first, second = echo_build(tmp_path / "first"), echo_build(tmp_path / "second")
    with pytest.raises(UsageError, match=r"first' and '.*second' are both builds of 'echo'"):
        EmbeddedServer([first, second]).start()


def test_no_build_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least one"):
        EmbeddedServer([]).start()


def test_an_edited_build_is_refused_by_file(tmp_path: Path) -> None:
    build = echo_build(tmp_path / "echo")
    (build / "model_repository" / "echo" / "1" / "model.py").write_text("pass\n")
    with pytest.raises(BuildError, match=r"model\.py: was changed after compiling"):
        EmbeddedServer([build]).start()


def test_a_server_that_is_not_installed_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEX_COMPILE_CACHE", str(tmp_path / "nothing"))
    server = EmbeddedServer([echo_build(tmp_path / "echo")], http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(LaunchError, match=r"No embedded server is installed in .*Run `cortex-compile install-server`"):
        server.start()


def test_a_python_without_a_stub_is_told(
    installed_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_folder, "PYTHON_MINOR", "3.99")
    server = EmbeddedServer([echo_build(tmp_path / "echo")], http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(LaunchError, match=r"cannot run Python 3\.99: it has stubs for 3\.8, .*3\.13"):
        server.start()
