"""How trials are told, the same in report.html, in ``inspect`` and by ``tune``."""

from __future__ import annotations

from cortex_compile.compiler.report_words import milliseconds
from cortex_compile.compiler.tune_record import Configuration, TuneTrial, Tuning

__all__ = ["best_first", "configuration_in_words", "trial_in_words", "tuning_in_words"]


def configuration_in_words(configuration: Configuration) -> str:
    """``remote, 2 instances of 1 thread, batches of at most 8; 1 process, 16 requests under way``"""
    parts: list[str] = [configuration.placement]
    threads = _count(configuration.engine_threads, "thread")
    if configuration.placement == "remote":
        parts.append(f"{_count(configuration.core_instances, 'instance')} of {threads}")
        if configuration.max_batch is not None:
            parts.append(f"batches of at most {configuration.max_batch}" if configuration.max_batch else "no batches")
    else:
        parts.append(f"engines of {threads}")
    requests = {
        "in turn": "one request after the other",
        "passed turn": f"{configuration.at_once} requests under way by the passed turn",
        "threads": f"{configuration.at_once} threads",
    }
    if configuration.shared_rows > 1:
        requests["passed turn"] += f", sharing runs of {configuration.shared_rows} rows"
    if configuration.side_by_side:
        requests["passed turn"] += ", side by side where there are calls enough"
    processes = _count(configuration.processes, "process", "processes")
    return f"{', '.join(parts)}; {processes}, {requests[configuration.dispatch]}"


def trial_in_words(trial: TuneTrial) -> str:
    figures = (
        f"{trial.per_second:.1f} answers/s, p50 {milliseconds(trial.p50_ms)} ms, p99 {milliseconds(trial.p99_ms)} ms"
    )
    if trial.outcome == "refused":
        return f"refused: {trial.reason}"
    return f"{figures} ({trial.reason})" if trial.reason else figures


def best_first(tuning: Tuning) -> list[TuneTrial]:
    """Those that were refused come last."""
    return sorted(tuning.trials, key=lambda trial: (trial.outcome == "refused", -trial.score))


def tuning_in_words(tuning: Tuning) -> str:
    """What was found, in a sentence or two."""
    first, winner = tuning.trials[0], tuning.trials[tuning.winner]
    limit = f", 99 of 100 within {tuning.latency_limit_ms:g} ms" if tuning.latency_limit_ms is not None else ""
    load = f"for {tuning.objective} with {_count(tuning.clients, 'client')}{limit}"
    how = f"{_count(len(tuning.trials), 'way')} to serve it tried in {tuning.seconds:.0f} s, {load}"
    text = f"{how}: {configuration_in_words(winner.configuration)}"
    if winner is not first and first.score and first.outcome != "refused":
        what = "the answers a second" if tuning.objective == "throughput" else "as quick"
        before = configuration_in_words(first.configuration)
        text += f", {winner.score / first.score:.2f}× {what} as it was before ({before})"
    elif winner is first:
        text += ", as it was before"
    return f"{text}."


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or f'{one}s'}"
