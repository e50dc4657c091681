"""Who comes again when it is answered is waited for; requests at random are not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cortex_compile.python_backend import returning
from cortex_compile.python_backend.returning import ReturningClients


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(returning, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def play(clock: Clock, clients: ReturningClients, rounds: int, come: int, after_s: float = 0.001) -> None:
    """Four are answered after 40 ms and so many of them come again, so much later."""
    for _ in range(rounds):
        clients.note_answered(4, 0.04)
        clock.now_s += after_s
        for _ in range(come):
            clients.note_came(1)
        clock.now_s += 0.04


@pytest.mark.parametrize(("longest_s", "waits_s"), [(1.0, 0.01), (0.005, 0.005)])
def test_those_who_come_again_are_waited_for(clock: Clock, longest_s: float, waits_s: float) -> None:
    clients = ReturningClients(0.25, longest_s)
    play(clock, clients, 50, come=4)
    clients.note_answered(4, 0.04)
    assert clients.until_s == clients.moment_until_s == pytest.approx(clock.now_s + waits_s)


@pytest.mark.parametrize(("come", "after_s"), [(0, 0.001), (1, 0.001), (4, 0.021)], ids=["none", "few", "late"])
def test_requests_at_random_are_not_waited_for_until_clients_come_again(
    clock: Clock, come: int, after_s: float
) -> None:
    clients = ReturningClients(0.25, 1.0)
    play(clock, clients, 20, come, after_s)
    clients.note_answered(4, 0.04)
    assert clients.until_s == 0.0
    assert clients.moment_until_s == pytest.approx(clock.now_s + 0.01)
    # Later than they would have been waited for: nobody did, and they found a run under way.
    play(clock, clients, 20, come=4, after_s=0.012)
    clients.note_answered(4, 0.04)
    assert clients.until_s > clock.now_s


def test_who_is_answered_in_one_moment_is_looked_for_together(clock: Clock) -> None:
    clients = ReturningClients(0.25, 1.0)
    for _ in range(20):
        for _ in range(4):
            clients.note_answered(1, 0.04)
            clock.now_s += 0.004
        for _ in range(4):
            clients.note_came(1)
        clock.now_s += 0.04
    clients.note_answered(1, 0.04)
    assert clients.until_s > clock.now_s
