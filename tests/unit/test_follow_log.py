from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from queue import Queue

import pytest

from cortex_compile.launchers import file_changes
from cortex_compile.launchers.file_changes import FileChanges
from cortex_compile.launchers.follow_log import LogFollower

LONG_S = 20.0


@pytest.fixture(params=["told", "not told"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a system that tells of changes, and of one that does not."""
    if request.param == "not told":
        monkeypatch.setattr(file_changes, "_MODIFIED", 0)  # which the system refuses
    file = tmp_path / "server.log"
    file.touch()
    return file


def test_lines_are_passed_on_as_they_come_and_not_in_parts(log: Path) -> None:
    lines: Queue[str] = Queue()
    log.write_text("one\n")
    follower = LogFollower(log, lines.put)
    try:
        assert lines.get(timeout=LONG_S) == "one"
        with log.open("a") as writing:
            for part in ("tw", "o\nthree\nfo"):
                writing.write(part)
                writing.flush()
            assert [lines.get(timeout=LONG_S) for _ in range(2)] == ["two", "three"]
            writing.write("ur\n")
        assert lines.get(timeout=LONG_S) == "four"
    finally:
        follower.end(LONG_S)


def test_what_stands_there_at_the_end_is_passed_on(log: Path) -> None:
    lines: list[str] = []
    follower = LogFollower(log, lines.append)
    log.write_text("the last words\n")
    follower.end(LONG_S)
    assert lines == ["the last words"]
    follower.end(LONG_S)


def test_one_that_ends_before_it_is_woken_is_no_error(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wake = FileChanges.wake

    def wake_late(changes: FileChanges) -> None:
        time.sleep(0.2)
        wake(changes)

    monkeypatch.setattr(FileChanges, "wake", wake_late)
    LogFollower(log, lambda line: None).end(LONG_S)


def test_nothing_is_looked_at_where_the_system_tells(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    changes, came_back = FileChanges(file), threading.Event()

    def wait() -> None:
        changes.wait(otherwise_s=0.0)
        came_back.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not came_back.wait(0.1)
    with file.open("ab") as writing:
        os.write(writing.fileno(), b"x")
    assert came_back.wait(LONG_S)
    thread.join()
    changes.close()
