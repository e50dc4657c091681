"""A build appears whole or not at all, and what is not a build is never replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cortex_compile.compiler.publish_build import publish, work_folder
from cortex_compile.errors import ProjectError


def make_build(folder: Path, mark: str) -> Path:
    folder.mkdir(parents=True)
    manifest = {"version": 1, "predictor": "predictor.py", "cores": [], "files": {}, "mark": mark}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def mark_of(build: Path) -> str:
    return str(json.loads((build / "manifest.json").read_text())["mark"])


def test_a_new_build_stands_where_nothing_was(tmp_path: Path) -> None:
    output = tmp_path / "build" / "iris"
    with work_folder(output) as work:
        publish(make_build(work / "build", "new"), output)
    assert mark_of(output) == "new"
    assert [path.name for path in output.parent.iterdir()] == ["iris"]


def test_an_earlier_build_or_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    output = make_build(tmp_path / "iris", "old")
    (output / "more").mkdir()
    for mark in ("new", "newer"):
        with work_folder(output) as work:
            publish(make_build(work / "build", mark), output)
        assert mark_of(output) == mark
    assert not (output / "more").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    with work_folder(empty) as work:
        publish(make_build(work / "build", "first"), empty)
    assert {path.name for path in tmp_path.iterdir()} == {"iris", "empty"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_build_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    output = make_build(tmp_path / "build" / "iris", "old")

    def compile_and_fail() -> None:
        with work_folder(output) as work:
            make_build(work / "build", "half")
            raise error

    with pytest.raises(error):
        compile_and_fail()
    assert mark_of(output) == "old"
    assert [path.name for path in output.parent.iterdir()] == ["iris"]


def test_a_failure_leaves_no_folder_that_was_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), work_folder(tmp_path / "a" / "b" / "iris"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_old_build_comes_back_when_the_last_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    output = make_build(tmp_path / "iris", "old")
    new = make_build(tmp_path / "new", "new")
    rename = Path.rename

    def fail_on_the_new_one(path: Path, target: Path) -> Path:
        if path == new:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_on_the_new_one)
    with pytest.raises((ProjectError, KeyboardInterrupt)):
        publish(new, output)
    assert mark_of(output) == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"iris", "new"}


@pytest.mark.parametrize("name", ["manifest.json", "notes.txt"])
def test_a_folder_that_is_not_a_build_is_not_replaced(tmp_path: Path, name: str) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    (output / name).write_text('{"name": "mine"}')
    with pytest.raises(ProjectError, match=r"thesis: is not empty and is not a build"), work_folder(output):
        pytest.fail("compiling would have begun")
    with pytest.raises(ProjectError, match="is not a build"):
        publish(make_build(tmp_path / "new", "new"), output)
    assert (output / name).read_text() == '{"name": "mine"}'


def test_a_file_or_a_link_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with (
            pytest.raises(ProjectError, match=f"{name}: is there and is not a plain folder"),
            work_folder(tmp_path / name),
        ):
            pytest.fail("compiling would have begun")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    # A file as the parent stands for all of them: a test that runs as root may write anywhere else.
    (tmp_path / "file").write_text("x")
    output = tmp_path / "file" / "iris"
    with pytest.raises(ProjectError, match=r"iris: cannot be written \(Not a directory\)"), work_folder(output):
        pytest.fail("compiling would have begun")


def test_others_can_read_a_build(tmp_path: Path) -> None:
    with work_folder(tmp_path / "iris") as work:
        assert work.stat().st_mode & 0o055 == 0o055
