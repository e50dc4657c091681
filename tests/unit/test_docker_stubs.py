"""What the engine tells of the processes in a container, as dockerd 20 to 29 write it."""

from __future__ import annotations

from typing import Any

from cortex_compile.launchers.docker_stubs import ContainerStubs

SERVER = ["100", "1", "Ssl", "/opt/tritonserver/bin/tritonserver --model-repository=/builds/echo"]


def stub(pid: str, model: str, parent: str = "100", state: str = "Sl") -> list[str]:
    command = (
        f"/opt/tritonserver/backends/python/triton_python_backend_stub /builds/{model}/1/model.py cortex-compile-1-2- "
        f"1048576 1048576 100 /opt/tritonserver/backends/python 336 {model}_0_0 DEFAULT"
    )
    return [pid, parent, state, command]


class Container:
    def __init__(self, *rows: list[str]) -> None:
        self.rows: list[list[str]] | None = list(rows)

    def top(self, ps_args: str) -> dict[str, Any]:
        return {"Titles": ["PID", "PPID", "STAT", "COMMAND"], "Processes": self.rows}


def test_those_that_run_are_well() -> None:
    container = Container(SERVER, stub("7", "near"), stub("8", "far--core"))
    stubs = ContainerStubs(container)
    assert [stubs.look(), stubs.look()] == [None, None]
    container.rows = [SERVER, stub("7", "near"), stub("8", "far--core"), stub("9", "later")]
    assert stubs.look() is None


def test_one_that_ended_is_named_whether_triton_took_it_or_not() -> None:
    for left in ([], [["8", "100", "Zl", "[triton_python_b] <defunct>"]], [stub("8", "far--core", state="Zl")]):
        container = Container(SERVER, stub("7", "near"), stub("8", "far--core"))
        stubs = ContainerStubs(container)
        assert stubs.look() is None
        container.rows = [SERVER, stub("7", "near"), *left]
        assert stubs.look() == "the process of 'far--core' ended"
        stubs.forget()
        assert stubs.look() is None


def test_one_that_is_stopped_is_seen_twice() -> None:
    container = Container(SERVER, stub("7", "near"))
    stubs = ContainerStubs(container)
    for state, said in (
        ("Tl", None),
        ("Sl", None),
        ("Tl", None),
        ("Tl", "the process of 'near' was stopped (SIGSTOP)"),
    ):
        container.rows = [SERVER, stub("7", "near", state=state)]
        assert stubs.look() == said


def test_what_a_predictor_forked_may_end() -> None:
    container = Container(SERVER, stub("7", "near"), stub("9", "near", parent="7"), ["11", "7", "S", "sleep 3"])
    stubs = ContainerStubs(container)
    assert stubs.look() is None
    container.rows = [SERVER, stub("7", "near")]
    assert stubs.look() is None


def test_an_empty_answer_is_no_error() -> None:
    container = Container()
    container.rows = None
    assert ContainerStubs(container).look() is None
