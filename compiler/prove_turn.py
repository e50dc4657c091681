"""Whether requests of a predictor may be under way at once, one at a time in its Python, changing in compiled calls.

Proven on the samples, in the rehearsal: nothing of the predictor's own is written while it answers, and it answers the
same, whatever other requests run in between. Where that is not shown, requests are answered one after the other.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cortex_compile.compiler.answer_samples import answer_question, seed_everything
from cortex_compile.compiler.compare_answers import worst_of_answers
from cortex_compile.compiler.interleave import Choose, Interleaving, Stuck, at_random, each_in_turn, others_inside
from cortex_compile.compiler.questions import Question
from cortex_compile.compiler.report_words import answer_difference_in_words
from cortex_compile.compiler.tolerances import Tolerance
from cortex_compile.compiler.watch_state import find_lock, own_state, written_between
from cortex_compile.errors import PredictorError
from cortex_compile.python_backend.answer import Answer
from cortex_compile.python_backend.load_predictor import LoadedClass
from cortex_compile.python_backend.thread_state import capture_thread_state
from cortex_compile.python_backend.turn import PassTurn

__all__ = ["Answered", "CallHook", "why_not_passed"]

_BUDGET_S = 8.0
_LEAST_ORDERS, _MOST_ORDERS = 6, 60
_AT_ONCE = 3
# Of one request; a decoder has hundreds of compiled calls.
_PICTURES = 12
_PATIENCE = 20.0


@dataclass(frozen=True)
class Answered:
    """A sample with its answer when nothing else runs. ``repeats`` is False where it is another the next time."""

    question: Question
    answer: Answer
    repeats: bool


class CallHook:
    """Stands where the runtime has its turn; with a ``watcher``, that sees the begin and end of each compiled call."""

    def __init__(self) -> None:
        self.watcher: PassTurn | None = None

    def holds(self) -> bool:
        return self.watcher is not None and self.watcher.holds()

    def give_back(self) -> None:
        if self.watcher is not None:
            self.watcher.give_back()

    def take(self) -> None:
        if self.watcher is not None:
            self.watcher.take()


def why_not_passed(
    predictor: object,
    loaded: LoadedClass,
    answered: Sequence[Answered],
    tolerance: Tolerance,
    hook: CallHook,
    eager_calls: Callable[[], int],
) -> str | None:
    """None where it is proven, else what was found. Called last: of a predictor that gets stuck, threads stay behind.

    Args:
        hook: is in all compiled calls of the predictor, whatever they take.
        eager_calls: how many calls of compiled modules have run eager so far.
    """
    unlike = {each.answer.body: each for each in answered if each.answer.status_code < 400}
    if len(unlike) < 2:
        return f"no two samples with different answers to prove it on ({len(answered)} in all)"
    changing = [each.question.name for each in answered if not each.repeats]
    if changing:
        return f"{changing[0]} is not answered the same twice"
    lock = find_lock(predictor, loaded.project)
    if lock is not None:
        return f"{lock} is a lock: a request that waits in a compiled call with it would stop the others"
    watched = [_watch(predictor, loaded, each.question, hook) for each in unlike.values()]
    problem = next((each.problem for each in watched if each.problem is not None), None)
    if problem is not None:
        return problem
    calls = [each.calls for each in watched]
    if not any(calls):
        return "no compiled module is called on the samples"
    eager = eager_calls()
    try:
        problem = _interleave(predictor, loaded, list(unlike.values()), calls, tolerance, hook)
    except Stuck:
        return "with other requests in between, the samples were not answered at all: something waits for another"
    finally:
        hook.watcher = None
    if problem is None and eager_calls() > eager:
        return "in another thread than that of __init__, compiled modules ran eager"
    return problem


class _Watch:
    """Counts compiled calls, and takes pictures of the predictor's state in them."""

    def __init__(self, written: Callable[[], str | None]) -> None:
        self._written = written
        self.calls = 0
        self.problem: str | None = None

    def holds(self) -> bool:
        return True

    def give_back(self) -> None:
        self.calls += 1
        if self.calls <= _PICTURES:
            self.problem = self.problem or self._written()

    def take(self) -> None:
        pass


def _watch(predictor: object, loaded: LoadedClass, question: Question, hook: CallHook) -> _Watch:
    seed_everything()
    drawn = _random_state()
    before = own_state(predictor, loaded.project)

    def written() -> str | None:
        path = written_between(before, own_state(predictor, loaded.project))
        return None if path is None else f"{path} is written while it answers"

    hook.watcher = watch = _Watch(written)
    try:
        with _noting_writes(type(predictor)) as names:
            answer_question(predictor, loaded, question)
    finally:
        hook.watcher = None
    watch.problem = watch.problem or written()
    if names:
        watch.problem = f"predictor.{names[0]} is written while it answers"
    if watch.problem is None and _random_state() != drawn:
        watch.problem = "it draws random numbers, which requests in between would take from it"
    return watch


@contextmanager
def _noting_writes(kind: type) -> Iterator[list[str]]:
    """Attributes that are set or deleted, also those that have their old value again before anybody looks."""
    names: list[str] = []
    own = {name: vars(kind)[name] for name in ("__setattr__", "__delattr__") if name in vars(kind)}
    set_it: Any = kind.__setattr__
    delete_it: Any = kind.__delattr__

    def note_set(self: object, name: str, value: object) -> None:
        names.append(name)
        set_it(self, name, value)

    def note_delete(self: object, name: str) -> None:
        names.append(name)
        delete_it(self, name)

    kind.__setattr__ = note_set  # type: ignore[method-assign, assignment]
    kind.__delattr__ = note_delete  # type: ignore[method-assign, assignment]
    try:
        yield names
    finally:
        for name in ("__setattr__", "__delattr__"):
            if name in own:
                setattr(kind, name, own[name])
            else:
                delattr(kind, name)


def _random_state() -> tuple[Any, ...]:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    return (
        random.getstate(),
        repr(numpy.random.get_state()) if numpy is not None else None,
        torch.get_rng_state().numpy().tobytes() if torch is not None else None,
    )


def _interleave(
    predictor: object,
    loaded: LoadedClass,
    answered: Sequence[Answered],
    calls: Sequence[int],
    tolerance: Tolerance,
    hook: CallHook,
) -> str | None:
    end = time.monotonic() + _BUDGET_S
    adopt = capture_thread_state()
    for number, (group, choose) in enumerate(_orders(len(answered), calls)):
        if number >= _LEAST_ORDERS and time.monotonic() > end:
            break
        members = [answered[index] for index in group]
        found: list[Answer | str] = ["it was not answered"] * len(members)
        work = [
            partial(_answer_into, found, place, adopt, predictor, loaded, member.question)
            for place, member in enumerate(members)
        ]
        interleaving = Interleaving(work, choose, _PATIENCE)
        hook.watcher = interleaving
        interleaving.run()
        for member, answer in zip(members, found, strict=True):
            problem = _difference(member, answer, tolerance)
            if problem is not None:
                return f"with other requests in between, {member.question.name} is answered otherwise: {problem}"
    return None


def _answer_into(
    found: list[Answer | str],
    place: int,
    adopt: Callable[[], None],
    predictor: object,
    loaded: LoadedClass,
    question: Question,
) -> None:
    try:
        adopt()
        found[place] = answer_question(predictor, loaded, question)
    except PredictorError as error:
        found[place] = str(error)
    except BaseException as error:
        found[place] = f"{type(error).__name__}: {error}"


def _difference(expected: Answered, found: Answer | str, tolerance: Tolerance) -> str | None:
    if isinstance(found, str):
        return found
    worst = worst_of_answers(expected.answer, found, tolerance)
    return None if worst.excess <= 1 else answer_difference_in_words(worst)


def _orders(count: int, calls: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Choose]]:
    """Which samples run at once, and who goes on at each compiled call; the most telling first."""
    pairs = [(first, second) for first in range(count) for second in range(count) if first != second]
    some = tuple(range(min(count, _AT_ONCE)))
    yield some, each_in_turn
    for first, second in pairs[:_LEAST_ORDERS]:
        # Before the engine reads its inputs, and after it has answered.
        for stop in range(1, min(2 * calls[first], 8) + 1):
            yield (first, second), others_inside(0, stop)
    for seed in range(_MOST_ORDERS):
        chosen = random.Random(seed).sample(range(count), len(some))
        yield tuple(chosen), at_random(seed)
