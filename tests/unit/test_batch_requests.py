"""The batcher: when a batch goes out, and with whom. A batch that should not wait has an interval of ten minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from cortex_compile.python_backend.batch_requests import RequestBatcher, batches_at_once
from cortex_compile.python_backend.manifest import BatchingSpec

LONG_S = 600.0
PATIENCE_S = 20.0


class Answering:
    """Batchers with threads in them, whose batches come out of ``batches`` and may be held back by ``gate``."""

    def __init__(self) -> None:
        self.batches: Queue[list[int]] = Queue()
        self.gate = threading.Event()
        self.gate.set()
        self._batchers: list[RequestBatcher[int]] = []
        self._threads: list[threading.Thread] = []

    def start(self, max_batch_size: int, interval_s: float, threads: int = 1) -> RequestBatcher[int]:
        batcher = RequestBatcher(BatchingSpec(max_batch_size, interval_s), self._answer)
        self._batchers.append(batcher)
        self._threads += [threading.Thread(target=batcher.run, daemon=True) for _ in range(threads)]
        for thread in self._threads[-threads:]:
            thread.start()
        return batcher

    def _answer(self, batch: list[int]) -> None:
        self.batches.put(batch)
        assert self.gate.wait(PATIENCE_S)

    def next_batch(self) -> list[int]:
        return self.batches.get(timeout=PATIENCE_S)

    def stop(self) -> None:
        self.gate.set()
        for batcher in self._batchers:
            batcher.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def answering() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.stop()


def test_a_full_batch_goes_out_at_once(answering: Answering) -> None:
    batcher = answering.start(3, LONG_S)
    for item in range(7):
        batcher.add(item)
    assert [answering.next_batch(), answering.next_batch()] == [[0, 1, 2], [3, 4, 5]]
    assert answering.batches.empty()


def test_the_interval_starts_with_the_first_request(answering: Answering) -> None:
    batcher = answering.start(100, 0.5)
    for item in range(2):  # whatever time has passed before a first request, and after an earlier batch
        threading.Event().wait(0.6)
        added = time.monotonic()
        batcher.add(item)
        assert answering.next_batch() == [item]
        assert time.monotonic() - added >= 0.5


def test_a_later_request_does_not_prolong_the_wait(answering: Answering) -> None:
    batcher = answering.start(10_000, 0.5)
    start, count = time.monotonic(), 0
    while answering.batches.empty():  # for ever, if each request began the interval anew
        assert time.monotonic() - start < PATIENCE_S
        batcher.add(count)
        count += 1
        threading.Event().wait(0.05)
    assert answering.next_batch()[:2] == [0, 1]


def test_the_next_batch_gathers_while_one_is_answered(answering: Answering) -> None:
    batcher = answering.start(4, 0.001)
    answering.gate.clear()
    batcher.add(0)
    assert answering.next_batch() == [0]
    for item in range(1, 7):  # each is due before the next comes, and still they go together
        batcher.add(item)
    answering.gate.set()
    assert answering.next_batch() == [1, 2, 3, 4]
    assert answering.next_batch() == [5, 6]


def test_as_many_batches_at_once_as_threads(answering: Answering) -> None:
    batcher = answering.start(2, LONG_S, threads=2)
    answering.gate.clear()
    for item in range(6):
        batcher.add(item)
    found = [answering.next_batch(), answering.next_batch()]  # neither has been answered
    assert sorted(found) == [[0, 1], [2, 3]]
    assert answering.batches.empty()
    answering.gate.set()
    assert answering.next_batch() == [4, 5]


def test_closing_answers_what_is_left(answering: Answering) -> None:
    batcher = answering.start(4, LONG_S)
    batcher.add(1)
    batcher.close()
    assert answering.next_batch() == [1]


@pytest.mark.parametrize("threads", [1, 4])
def test_every_request_is_in_one_batch(answering: Answering, threads: int) -> None:
    batcher = answering.start(8, 0.002, threads)
    clients = 6

    def add(first: int) -> None:
        for item in range(first, 600, clients):
            batcher.add(item)

    adders: list[Callable[[], None]] = [threading.Thread(target=add, args=(first,)).start for first in range(clients)]
    for start in adders:
        start()
    found: list[int] = []
    while len(found) < 600:
        batch = answering.next_batch()
        assert 1 <= len(batch) <= 8
        found += batch
    assert sorted(found) == list(range(600))


def test_how_many_batches_at_once() -> None:
    sizes = {threads: batches_at_once(BatchingSpec(8, 1.0), threads) for threads in (1, 7, 8, 15, 16, 64)}
    assert sizes == {1: 1, 7: 1, 8: 1, 15: 1, 16: 2, 64: 8}
