"""Find the fastest configuration by trials: one that is surely slower than the best so far is stopped early."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from cortex_compile.compiler.tune_record import Configuration, TuneTrial
from cortex_compile.errors import CortexCompileError

__all__ = ["Measure", "SearchRules", "Window", "search", "winner_of"]

# Fewer windows have no interval to speak of.
_LEAST_WINDOWS = 3
# Student's t for a two-sided interval of 95 %, by windows - 1; the normal distribution's from there on.
_STUDENT = {2: 4.3, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
_NORMAL = 2.0
# What the best cannot be told from: the simplest of these is taken.
_AS_GOOD = 0.98
_MOST_FINALISTS = 3


@dataclass(frozen=True)
class Window:
    """A second or so of load."""

    per_second: float
    p50_ms: float
    p99_ms: float


Measure = Callable[[Configuration], Generator[Window]]
"""Serves a configuration and yields windows as long as it is asked for more; raises what makes it no choice."""


@dataclass(frozen=True)
class SearchRules:
    objective: Literal["latency", "throughput"]
    latency_limit_ms: float | None = None
    windows: int = 8
    try_all: bool = False
    """Measure each to the end, however slow it is."""


def search(
    configurations: Sequence[Configuration], measure: Measure, rules: SearchRules, tell: Callable[[TuneTrial], None]
) -> tuple[TuneTrial, ...]:
    """A trial for each. Those that cannot be told from the best are measured a second time, in the other order.

    ``tell`` is called with each trial as it ends.

    Raises:
        CortexCompileError: the first one, which all others are compared with, cannot be measured.
    """
    windows: dict[Configuration, list[Window]] = {}
    trials: dict[Configuration, TuneTrial] = {}
    for configuration in configurations:
        best = None if rules.try_all else _best(trials.values())
        windows[configuration], refusal = _run(configuration, measure, rules, best)
        if refusal is not None and not trials:
            raise refusal
        trials[configuration] = _trial(configuration, windows[configuration], rules, refusal)
        tell(trials[configuration])
    for configuration in reversed(_finalists(trials.values())):
        more, refusal = _run(configuration, measure, rules, None)
        trials[configuration] = _trial(configuration, [*windows[configuration], *more], rules, refusal)
        tell(trials[configuration])
    return tuple(trials.values())


def winner_of(trials: Sequence[TuneTrial]) -> int | None:
    """The place of the best; of those as good, of the one that takes the least. None where all were refused."""
    best = _best(trials)
    if best is None:
        return None
    good = [trial for trial in trials if trial.outcome == "measured" and trial.score >= _AS_GOOD * best.score]
    return trials.index(min(good, key=lambda trial: (_cost(trial.configuration), -trial.score)))


def _cost(configuration: Configuration) -> tuple[int, ...]:
    engines = configuration.core_instances if configuration.placement == "remote" else 0
    processes = configuration.processes + engines
    memory = processes, configuration.engine_threads, configuration.side_by_side
    return *memory, configuration.at_once, configuration.max_batch is not None


def _run(
    configuration: Configuration, measure: Measure, rules: SearchRules, best: TuneTrial | None
) -> tuple[list[Window], CortexCompileError | None]:
    found: list[Window] = []
    try:
        with closing(measure(configuration)) as windows:
            for window in windows:
                found.append(window)
                if len(found) >= rules.windows or _is_hopeless(found, rules, best):
                    break
    except CortexCompileError as error:
        return found, error
    return found, None


def _is_hopeless(found: Sequence[Window], rules: SearchRules, best: TuneTrial | None) -> bool:
    if len(found) < _LEAST_WINDOWS or rules.try_all:
        return False
    if _misses_limit(found, rules):
        return True
    return best is not None and _interval(found, rules)[1] < best.lowest_score


def _misses_limit(found: Sequence[Window], rules: SearchRules) -> bool:
    limit_ms = rules.latency_limit_ms
    return limit_ms is not None and statistics.median(window.p99_ms for window in found) > limit_ms


def _trial(
    configuration: Configuration, found: Sequence[Window], rules: SearchRules, refusal: CortexCompileError | None
) -> TuneTrial:
    outcome: Literal["measured", "stopped early", "refused"] = "measured"
    reason = str(refusal or "")
    if refusal is not None:
        outcome = "refused"
    elif _misses_limit(found, rules):
        outcome, reason = "refused", f"99 of 100 answers take longer than the limit of {rules.latency_limit_ms:g} ms"
    elif len(found) < rules.windows:
        outcome, reason = "stopped early", "surely slower than the best so far"
    if not found:
        return TuneTrial(configuration, outcome, reason, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    low, high = _interval(found, rules)
    return TuneTrial(
        configuration,
        outcome,
        reason,
        len(found),
        round(statistics.fmean(window.per_second for window in found), 2),
        round(statistics.median(window.p50_ms for window in found), 3),
        round(statistics.median(window.p99_ms for window in found), 3),
        round(statistics.fmean(_score(window, rules) for window in found), 3),
        round(low, 3),
        round(high, 3),
    )


def _score(window: Window, rules: SearchRules) -> float:
    return window.per_second if rules.objective == "throughput" else 1000 / window.p50_ms


def _interval(found: Sequence[Window], rules: SearchRules) -> tuple[float, float]:
    scores = [_score(window, rules) for window in found]
    mean = statistics.fmean(scores)
    if len(scores) < _LEAST_WINDOWS:
        return 0.0, math.inf
    half = _STUDENT.get(len(scores) - 1, _NORMAL) * statistics.stdev(scores) / math.sqrt(len(scores))
    return mean - half, mean + half


def _best(trials: Iterable[TuneTrial]) -> TuneTrial | None:
    measured = [trial for trial in trials if trial.outcome == "measured"]
    return max(measured, key=lambda trial: trial.score, default=None)


def _finalists(trials: Collection[TuneTrial]) -> list[Configuration]:
    best = _best(trials)
    if best is None:
        return []
    near = [trial for trial in trials if trial.outcome == "measured" and trial.highest_score >= best.lowest_score]
    near.sort(key=lambda trial: -trial.score)
    return [trial.configuration for trial in near[:_MOST_FINALISTS]] if len(near) > 1 else []
