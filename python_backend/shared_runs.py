"""Calls of a local core that are under way at once, with the passed turn, share a run of its graph.

A run of several rows costs less than as many runs of one, up to a size that was measured. Nobody waits for company that
may not come: a run begins as soon as no request is in the predictor's Python any more, where it could come from, or the
run is full; and in any case after about the time that a call takes alone or, where clients usually ask again, some of
the time of the run before.

In each step of a run its threads wait for each other, which other runs can use. So where there are calls enough, and
that was measured to be quicker, as many runs as the engine has threads go on side by side, each with one; elsewhere
another run begins beside one with all threads if it is full.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .deadlines import suspended_deadline
from .manifest import Core, Variant
from .padding import Buckets, Filling, axes_of, bucket_for
from .returning import ReturningClients
from .timing import add_turn_wait
from .turn import Session, Turn

__all__ = ["SharingSession"]

Array = np.ndarray[Any, Any]

_LONGEST_WAIT_S = 0.02
# Of the time that a run took: so long after it the next one waits for as many as were in that one or waited beside it.
# Those clients have their answers now, and where clients ask again they do so at once; on one core that takes a while.
_RETURN_SHARE = 0.4


@dataclass(eq=False)
class _Call:
    inputs: Sequence[Array]
    filling: Filling
    shapes: tuple[tuple[int, ...], ...]
    """Of a row of each input, filled up: calls of the same shapes may share a run."""
    cells: int
    thread: int = field(default_factory=threading.get_ident)
    since_s: float = field(default_factory=time.perf_counter)
    gate: threading.Lock = field(default_factory=threading.Lock)
    results: list[Array] | None = None
    error: Exception | None = None
    share_s: float = 0.0

    def __post_init__(self) -> None:
        self.gate.acquire()

    @property
    def is_done(self) -> bool:
        return self.results is not None or self.error is not None

    def wake(self) -> None:
        """Have its thread look again."""
        with suppress(RuntimeError):  # it is open already
            self.gate.release()


class SharingSession:
    """A session of a variant whose rows were proven independent. Its caller does not have the turn meanwhile.

    A thread of the user's own has no turn to pass, and runs the graph by itself.
    """

    def __init__(
        self, session: Session, variant: Variant, core: Core, turn: Turn, one_thread: Session | None = None
    ) -> None:
        """
        Args:
            one_thread: the same graph, which computes with one thread; None: runs do not go on side by side.
        """
        shared = core.shared_run
        assert shared is not None  # exchange.py has looked
        self._session = session
        self._one_thread = one_thread
        self._turn = turn
        self._most_cells = round(shared.cells * _filled_share(variant))
        self._crowd = (shared.side_by_side_from or 1) * core.threads
        self._patience_s = min(core.call_ms / 1000, _LONGEST_WAIT_S)
        self._buckets = Buckets(variant)
        others = (item.name for item in variant.dimensions if item.name != variant.batch_dimension)
        self._sizes = [places[0] for name in others if (places := axes_of(variant, name))]
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._runs = 0
        self._running = 0
        self._most_runs = core.threads
        self._free_since_s = 0.0
        self._expected_cells = 0
        self._returning = ReturningClients(_RETURN_SHARE, _LONGEST_WAIT_S)
        turn.when_free(self._wake_first)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        if not self._turn.holds():
            return self._session.run(inputs)
        call = self._call_of(inputs)
        with self._lock:
            self._waiting.append(call)
            self._returning.note_came(call.cells)
            if len(self._waiting) > 1 and self._is_full(self._fitting()):
                self._waiting[0].wake()
        self._turn.give_back()
        # Whoever runs it lines its thread up for the turn, too, so that it wakes once and not twice.
        while not (call.is_done and self._turn.holds()):
            self._run_or_wait(call)
        add_turn_wait(time.perf_counter() - call.since_s - call.share_s)
        if call.error is not None:
            raise call.error
        assert call.results is not None
        return call.results

    def _run_or_wait(self, call: _Call) -> None:
        with self._lock:
            session = self._session_now()
            members, left_s = self._take(call, session is self._one_thread)
        if members:
            self._run(members, session)
        else:
            with suspended_deadline():
                call.gate.acquire(timeout=left_s)

    def _session_now(self) -> Session:
        """For a run that begins now: with all threads, or with one where there are calls enough for each."""
        is_crowd = self._running + len(self._waiting) >= self._crowd
        return self._one_thread if is_crowd and self._one_thread is not None else self._session

    def _take(self, call: _Call, side_by_side: bool) -> tuple[list[_Call], float]:
        """The calls to run now, of which ``call`` is the first; or none, and how long its thread may sleep."""
        if self._runs >= self._most_runs or call.is_done or not self._waiting or self._waiting[0] is not call:
            return [], -1
        members = self._fitting()
        if self._runs and not side_by_side and not self._is_full(members):
            return [], -1
        left_s = self._until_s(call, members) - time.perf_counter()
        if left_s > 0:
            return [], left_s
        if side_by_side:
            # Those that fit no further run would leave its thread idle.
            members = members[: math.ceil(len(self._waiting) / (self._most_runs - self._runs))]
        for member in members:
            self._waiting.remove(member)
        self._runs += 1
        self._running += len(members)
        if self._waiting:
            self._waiting[0].wake()
        return members, 0.0

    def _until_s(self, call: _Call, members: Sequence[_Call]) -> float:
        """By when a run of the first that waits begins if nobody else comes."""
        if self._is_full(members):
            return 0.0
        if not self._turn.is_free:
            return max(max(call.since_s, self._free_since_s) + self._patience_s, self._returning.until_s)
        has_all = sum(waiting.cells for waiting in self._waiting) >= self._expected_cells
        return 0.0 if has_all else self._returning.until_s

    def _fitting(self) -> list[_Call]:
        """The first that waits, and those after it that can share its run."""
        first = self._waiting[0]
        members, cells = [first], first.cells
        for call in self._waiting:
            if call is not first and call.shapes == first.shapes and cells + call.cells <= self._most_cells:
                members.append(call)
                cells += call.cells
        return members

    def _is_full(self, members: Sequence[_Call]) -> bool:
        return sum(call.cells for call in members) + members[0].cells > self._most_cells

    def _run(self, members: Sequence[_Call], session: Session) -> None:
        started_s = time.perf_counter()
        try:
            found: list[list[Array] | Exception] = [*_run_together(members, session)]
        except Exception:
            # It may be the fault of one alone, which then its own request is told.
            found = [_run_alone(call, session) for call in members]
        ended_s = time.perf_counter()
        cells = sum(call.cells for call in members)
        with self._lock:
            for call, result in zip(members, found, strict=True):
                call.share_s = (ended_s - started_s) * call.cells / cells
                if isinstance(result, Exception):
                    call.error = result
                else:
                    call.results = result
            self._runs -= 1
            self._running -= len(members)
            self._free_since_s = ended_s
            self._expected_cells = min(cells + sum(call.cells for call in self._waiting), self._most_cells)
            self._returning.note_answered(cells, ended_s - started_s)
            if self._waiting:
                self._waiting[0].wake()
        self._turn.line_up((call.thread, call.wake) for call in members)

    def _call_of(self, inputs: Sequence[Array]) -> _Call:
        filling = self._buckets.filling_of(inputs)
        shapes = filling.shapes(inputs)
        rows = inputs[0].shape[0]
        sizes = (shapes[index][axis] - offset for index, axis, offset in self._sizes)
        # A call without rows shares nothing.
        cells = rows * math.prod(sizes) if rows else self._most_cells
        return _Call(inputs, filling, tuple(shape[1:] for shape in shapes), max(cells, 1))

    def _wake_first(self) -> None:
        with self._lock:
            if self._waiting and (not self._runs or self._session_now() is self._one_thread):
                self._waiting[0].wake()


def _run_together(members: Sequence[_Call], session: Session) -> list[list[Array]]:
    if len(members) == 1:
        return [session.run(members[0].inputs)]
    alike = len({tuple(array.shape[1:] for array in call.inputs) for call in members}) == 1
    filled = [call.inputs if alike else call.filling.fill_up(call.inputs) for call in members]
    together = session.run([np.concatenate(arrays) for arrays in zip(*filled, strict=True)])
    results, row = [], 0
    for call in members:
        rows = call.inputs[0].shape[0]
        # In memory of its own, as the results of a run of its own would be.
        own = [array[row : row + rows].copy() for array in together]
        results.append(own if alike else call.filling.cut(own))
        row += rows
    return results


def _run_alone(call: _Call, session: Session) -> list[Array] | Exception:
    try:
        return session.run(call.inputs)
    except Exception as error:
        return error


def _filled_share(variant: Variant) -> float:
    """How much larger the samples' calls are when they are filled up, by which calls are counted here."""
    buckets = {spec.dimension: spec.buckets for spec in variant.paddings}
    sizes = {item.name: item.typical for item in variant.dimensions if item.name != variant.batch_dimension}
    return math.prod(bucket_for(size, buckets.get(name, ())) / size for name, size in sizes.items() if size)
