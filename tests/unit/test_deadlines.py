from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cortex_compile.launchers.judge_work import DEADLINES_VARIABLE
from cortex_compile.launchers.stubs import Stub, StubList
from cortex_compile.launchers.watch_stubs import StubWatch
from cortex_compile.python_backend.deadlines import FOLDER_VARIABLE, Deadlines, suspended_deadline


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


class Clock:
    """The monotonic one, which stands still but for ``pass_s``."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    return clock


def late_s(folder: Path) -> float:
    """As the launcher sees it; less than nothing where there is time left."""
    return StubWatch(StubList(), folder, overdue_s=1.0)._read_work(os.getpid()).late_s


def test_launcher_and_runtime_speak_of_one_variable() -> None:
    assert DEADLINES_VARIABLE == FOLDER_VARIABLE


def test_a_prediction_is_late_until_it_is_done(folder: Path, clock: Clock) -> None:
    deadlines = Deadlines(2, at_least_s=0.0)
    assert late_s(folder) == 0.0
    with deadlines.within(60.0), deadlines.within(5.0):
        assert late_s(folder) == -5.0
        clock.pass_s(8)
        assert late_s(folder) == 3.0
    assert late_s(folder) == 0.0


def test_what_has_no_time_out_is_never_late(folder: Path) -> None:
    with Deadlines(1, at_least_s=0.0).within(None):
        assert late_s(folder) == -math.inf


def test_a_client_cannot_ask_for_less_than_the_api_allows(folder: Path, clock: Clock) -> None:
    with Deadlines(1, at_least_s=60.0).within(1.0):
        assert late_s(folder) == -60.0


def test_each_chunk_has_its_own_time(folder: Path, clock: Clock) -> None:
    def chunks() -> Iterator[float]:
        for _ in range(3):
            clock.pass_s(4)
            yield late_s(folder)

    seen = []
    for late in Deadlines(1, at_least_s=0.0).each_within(5.0, chunks()):
        seen.append((late, late_s(folder)))
        clock.pass_s(100)  # sending it
    assert seen == [(-1.0, 0.0)] * 3


def test_waiting_for_another_predictions_turn_does_not_count(folder: Path, clock: Clock) -> None:
    with Deadlines(1, at_least_s=0.0).within(5.0):
        clock.pass_s(3)
        with suspended_deadline():
            clock.pass_s(100)
            assert late_s(folder) == 0.0
        assert late_s(folder) == -2.0
    with suspended_deadline():
        assert late_s(folder) == 0.0


def test_more_at_once_than_there_are_places_is_no_error(folder: Path) -> None:
    deadlines = Deadlines(1, at_least_s=0.0)
    with ExitStack() as all_at_once:
        for _ in range(3):
            all_at_once.enter_context(deadlines.within(60.0))


def test_without_a_launcher_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with Deadlines(1, at_least_s=0.0).within(1.0):
        assert not list(tmp_path.iterdir())


class Watch:
    """Over this process, which is that of a model. ``unanswered_s``: how long it has not said that it answers."""

    def __init__(self, folder: Path, processes: int = 1) -> None:
        stubs = StubList()
        stubs.known = {os.getpid() + number: Stub(os.getpid() + number, "api") for number in range(processes)}
        self.unanswered_s = 0.0
        self._watch = StubWatch(stubs, folder, 10.0, dumb_s=15.0, unanswered_s=lambda _: self.unanswered_s)

    def judge(self) -> tuple[str, str] | None:
        """Reason and words of what is found."""
        self._watch.answering_nobody.clear()
        finding = self._watch._judge(Stub(os.getpid(), "api"))
        return None if finding is None else (finding.reason, finding.how)

    def answers_nobody(self) -> bool:
        assert self.judge() is None
        return self._watch.answering_nobody == {"api"}


def test_who_is_late_for_longer_than_that_is_stuck(folder: Path, clock: Clock) -> None:
    watch = Watch(folder)
    with Deadlines(1, at_least_s=0.0).within(5.0):
        clock.pass_s(15)
        assert watch.judge() is None
        clock.pass_s(1)
        assert watch.judge() == ("stuck", "is stuck: a prediction takes 11 s longer than its request may")


def test_who_is_late_answers_nobody(folder: Path, clock: Clock) -> None:
    watch = Watch(folder)
    with Deadlines(1, at_least_s=0.0).within(5.0):
        clock.pass_s(5)
        assert not watch.answers_nobody()
        clock.pass_s(0.5)
        assert watch.answers_nobody()
    assert not watch.answers_nobody()


@pytest.mark.parametrize(("threads", "processes"), [(2, 1), (1, 2)])
def test_who_is_late_beside_others_may_answer(folder: Path, clock: Clock, threads: int, processes: int) -> None:
    watch = Watch(folder, processes)
    with Deadlines(threads, at_least_s=0.0).within(5.0):
        clock.pass_s(6)
        assert not watch.answers_nobody()
        watch.unanswered_s = 0.5
        assert watch.answers_nobody()


def test_who_does_nothing_and_does_not_answer_is_stuck(folder: Path, clock: Clock) -> None:
    watch, deadlines = Watch(folder), Deadlines(1, at_least_s=0.0)
    watch.unanswered_s = 100.0
    assert not watch.answers_nobody()
    with deadlines.within(None):
        clock.pass_s(100)
        assert not watch.answers_nobody()  # it is at something that may take as long as it likes
    clock.pass_s(2)
    assert not watch.answers_nobody()
    clock.pass_s(2)
    assert watch.answers_nobody()
    clock.pass_s(12)
    assert watch.judge() == ("stuck", "is stuck: it has nothing to do and has not answered for 16 s")
    watch.unanswered_s = 0.1
    assert not watch.answers_nobody()


def test_who_was_replaced_is_left_alone(folder: Path, clock: Clock) -> None:
    me = Stub(os.getpid(), "api")
    stubs = StubList()
    stubs.follow(os.getppid())
    stubs.known, stubs.look_for_new = {me.pid: me}, lambda: None  # type: ignore[method-assign]
    watch = StubWatch(stubs, folder, overdue_s=10.0)
    with Deadlines(1, at_least_s=0.0).within(5.0):
        clock.pass_s(20)
        assert [finding.stub for finding in watch.look()] == [me]
        watch.settle([me.pid])
        assert watch.look() == []
