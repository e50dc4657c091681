"""The search: on made-up speeds that scatter, it finds what trying all finds, with less load."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator

import pytest

from cortex_compile.compiler.tune_record import Configuration, TuneTrial
from cortex_compile.compiler.tune_search import SearchRules, Window, search, winner_of
from cortex_compile.errors import ServiceError

WAYS = [Configuration("local", processes, 1, "in turn", 1) for processes in range(1, 13)]


class Machine:
    """Serves each way at its own speed, with noise; counts the windows of load."""

    def __init__(self, speeds: list[float], seed: int, p99_ms: Callable[[int], float] = lambda processes: 10.0) -> None:
        self.speeds = dict(zip(WAYS, speeds, strict=False))
        self.windows: Counter[Configuration] = Counter()
        self._chance = random.Random(seed)
        self._p99_ms = p99_ms

    def measure(self, configuration: Configuration) -> Generator[Window]:
        while True:
            self.windows[configuration] += 1
            speed = self.speeds[configuration] * self._chance.gauss(1, 0.03)
            if speed < 0:
                raise ServiceError("a wrong answer: x is 2, eager says 1")
            yield Window(speed, 1000 / speed, self._p99_ms(configuration.processes))


def search_on(machine: Machine, rules: SearchRules) -> tuple[tuple[TuneTrial, ...], list[TuneTrial]]:
    told: list[TuneTrial] = []
    return search(list(machine.speeds), machine.measure, rules, told.append), told


@pytest.mark.parametrize("objective", ["throughput", "latency"])
@pytest.mark.parametrize("seed", range(10))
def test_it_comes_within_5_percent_of_trying_all_with_less_load(seed: int, objective: str) -> None:
    chance = random.Random(seed)
    speeds = [chance.uniform(50, 200) for _ in WAYS]
    quick, whole = Machine(speeds, seed), Machine(speeds, seed + 100)
    rules = SearchRules(objective)  # type: ignore[arg-type]
    trials, _ = search_on(quick, rules)
    all_trials, _ = search_on(whole, SearchRules(objective, try_all=True))  # type: ignore[arg-type]
    found, best = winner_of(trials), winner_of(all_trials)
    assert found is not None
    assert best is not None
    speed = {way: quick.speeds[way] for way in WAYS}
    assert speed[trials[found].configuration] >= 0.95 * max(speeds)
    assert speed[trials[found].configuration] >= 0.95 * speed[all_trials[best].configuration]
    assert quick.windows.total() < whole.windows.total()
    assert all(whole.windows[way] >= rules.windows for way in WAYS)


def test_what_is_surely_slower_is_stopped_and_never_wins() -> None:
    machine = Machine([100, 10, 200, 12], 0)
    trials, told = search_on(machine, SearchRules("throughput"))
    assert [trial.outcome for trial in trials] == ["measured", "stopped early", "measured", "stopped early"]
    assert machine.windows[WAYS[1]] == 3
    assert winner_of(trials) == 2
    assert told[: len(trials)] == list(trials)


def test_a_wrong_answer_refuses_a_configuration_however_fast_it_is() -> None:
    machine = Machine([100, 90, -900], 0)
    trials, _ = search_on(machine, SearchRules("throughput"))
    assert trials[2].outcome == "refused"
    assert "wrong answer" in trials[2].reason
    assert winner_of(trials) == 0


def test_nothing_is_compared_with_a_first_one_that_fails() -> None:
    with pytest.raises(ServiceError, match="wrong answer"):
        search_on(Machine([-1, 100], 0), SearchRules("throughput"))


def test_a_limit_of_latency_refuses_what_is_fast_and_late() -> None:
    machine = Machine([100, 200, 150], 0, p99_ms=lambda processes: 80.0 if processes == 2 else 20.0)
    trials, _ = search_on(machine, SearchRules("throughput", latency_limit_ms=50.0))
    assert trials[1].outcome == "refused"
    assert "limit of 50 ms" in trials[1].reason
    assert winner_of(trials) == 2
    none_left, _ = search_on(machine, SearchRules("throughput", latency_limit_ms=5.0))
    assert winner_of(none_left) is None


def test_of_those_as_good_the_one_that_takes_least_is_taken() -> None:
    machine = Machine([100, 199, 200, 200.5], 0)
    machine._chance.gauss = lambda mean, deviation: 1.0  # type: ignore[method-assign]
    trials, told = search_on(machine, SearchRules("throughput"))
    assert winner_of(trials) == 1
    # The others are near enough to be measured twice.
    assert len(told) >= len(trials)
