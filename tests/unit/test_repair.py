"""Repairs of a model while the server itself is not well: nothing is told to be well before it is."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_compile.errors import ServiceError
from cortex_compile.launchers import repair
from cortex_compile.launchers.crash_loop import CrashLoop
from cortex_compile.launchers.health import Health
from cortex_compile.launchers.repair import Fault, Repairs
from cortex_compile.launchers.stubs import StubList

from ..triton.processes import wait_until

FAULT = Fault("api", "api", "killed", "was killed", ("api",))


class Control:
    """A server that may not answer; what it was asked."""

    def __init__(self, loads: bool) -> None:
        self.answers = True
        self.loads = loads
        self.asked: list[str] = []

    def unload(self, name: str) -> None:
        self._ask("unload")

    def load(self, name: str, timeout_s: float) -> None:
        self._ask("load")
        if not self.loads:
            self.answers = False
            raise ServiceError("Triton ended")

    def ready(self, name: str) -> bool:
        self._ask("ready")
        return True

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if not self.answers:
            raise ServiceError("Triton does not answer")


@pytest.fixture(autouse=True)
def _ask_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_SERVER_PAUSE_S", 0.01)


def _repairs(control: Any, told: list[str]) -> tuple[Repairs, Health]:
    health = Health()
    return Repairs(control, health, StubList(), told.append, told.append, CrashLoop, 10.0), health


def test_a_model_is_not_well_while_its_server_does_not_answer() -> None:
    control, told = Control(loads=False), list[str]()
    repairs, health = _repairs(control, told)
    repairs.begin(FAULT)
    assert wait_until(lambda: control.asked.count("unload") > 3, timeout_s=10), control.asked
    assert health.faults() == {"api": "its process ended, and is started again"}
    repairs.end(timeout_s=10)
    assert told == ["api: its process was killed; it is started again."]
    assert health.faults() == {}
    assert health.repairs() == {"api": {"killed": 1}}


def test_a_server_that_comes_back_without_the_model_gets_it() -> None:
    control, told = Control(loads=True), list[str]()
    control.answers = False
    repairs, health = _repairs(control, told)
    repairs.begin(FAULT)
    assert wait_until(lambda: control.asked.count("unload") > 3, timeout_s=10), control.asked
    assert repairs.are_at("api")
    control.answers = True
    assert wait_until(lambda: not health.faults(), timeout_s=10), control.asked
    assert control.asked[-2:] == ["unload", "load"]
    assert wait_until(lambda: "api: ready again after" in told[-1], timeout_s=10), told
    assert health.repairs() == {"api": {"killed": 1}}
