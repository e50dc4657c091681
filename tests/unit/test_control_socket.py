"""Commands to a launcher: by its port, of its own user, with steps and errors as they are."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cortex_compile.cli.update import update_server
from cortex_compile.errors import BuildError, ServiceError, UsageError
from cortex_compile.launchers.control_socket import Tell, answering_commands, ask_launcher

PORT = 70000 + os.getpid()  # none that a facade can have; of this process alone


def handle(command: dict[str, str], tell: Tell) -> None:
    tell("first")
    if "fail" in command:
        raise BuildError("it is damaged")
    tell("second")


def test_steps_and_errors_come_as_they_are_and_several_ask_at_a_time() -> None:
    steps: list[str] = []
    with answering_commands(PORT, handle):
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(f"\0cortex-compile-serve-{PORT}")
            ask_launcher(PORT, {}, steps.append)
        assert steps == ["first", "second"]
        with pytest.raises(BuildError, match="it is damaged"):
            ask_launcher(PORT, {"fail": ""}, steps.append)
        with pytest.raises(OSError, match="in use"), answering_commands(PORT, handle):
            pass
    with pytest.raises(ServiceError, match=f"no `cortex-compile serve` of port {PORT}"):
        ask_launcher(PORT, {}, steps.append)
    with answering_commands(PORT, handle):  # the address is free again
        ask_launcher(PORT, {}, steps.append)


def test_another_user_is_not_answered_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[dict[str, str]] = []
    with answering_commands(PORT, lambda command, tell: done.append(command)):
        monkeypatch.setattr("cortex_compile.launchers.control_socket._user_of", lambda connection: 12345)
        with pytest.raises(ServiceError, match="ended before it had answered" if os.geteuid() == 0 else "another user"):
            ask_launcher(PORT, {}, print)
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        with pytest.raises(ServiceError, match="another user"):
            ask_launcher(PORT, {}, print)
    assert done == []


@pytest.mark.parametrize("url", ["http://example.com:8888", "http://192.0.2.7:8888", "ftp://127.0.0.1", "http://:1"])
def test_only_servers_of_this_machine_are_updated(url: str) -> None:
    with pytest.raises(UsageError):
        update_server(url, Path("build"))
