"""Cortex's /mnt/project, which does not exist here, in the sources, config and env of a project."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.compiler.mount_notices import mount_notices
from cortex_compile.compiler.project_files import project_files
from cortex_compile.python_backend import mnt_project
from cortex_compile.python_backend.answer import answer
from cortex_compile.python_backend.load_predictor import create_predictor, enter_project, load_predictor_class
from cortex_compile.python_backend.mnt_project import map_values, names_mount
from cortex_compile.python_backend.request import Request
from cortex_compile.python_backend.user_errors import find_user_line

pytestmark = pytest.mark.usefixtures("process_as_before", "finders_as_before")

CONFIG = {"nested": [{"path": "/mnt/project/words.txt"}], "number": 1}


@pytest.fixture
def finders_as_before() -> Iterator[None]:
    finders = list(sys.meta_path)
    yield
    sys.meta_path[:] = finders


@pytest.fixture
def project(predictors: Path, tmp_path: Path) -> Path:
    return shutil.copytree(predictors / "surroundings", tmp_path / "project")


def read_everything(project: Path) -> Any:
    enter_project(project, "lib", {"WORDS": "/mnt/project/words.txt"})
    loaded = load_predictor_class(project, "predictor.py", "lib")
    found = answer(create_predictor(loaded, CONFIG), loaded, Request(b'{"do": "read"}'))
    assert found.error is None
    return json.loads(found.body)


def test_every_way_to_a_file_leads_into_the_project(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = read_everything(project)
    texts = {key: value for key, value in found.items() if key not in ("listdir", "exists", "stat", "others")}
    assert texts == dict.fromkeys(texts, "hello")
    assert len(texts) == 8
    assert (found["listdir"], found["exists"], found["stat"]) == (["a.bin"], True, True)
    assert found["others"] == ["/mnt/projects", "/mnt/project-2/x", "a/mnt/project", "s3://b/mnt/project/x"]
    told = [line for line in caplog.messages if "/mnt/project" in line]
    assert told == [f"/mnt/project stands for {project}, since predictor.py, package/inner.py name it"]


def test_the_project_may_move_and_leaves_no_trace_of_where_it_was(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    read_everything(project)
    for name in ("cortex_predictor", "package", "package.inner"):
        del sys.modules[name]
    assert not list(project.glob("__pycache__/predictor*"))
    moved = project.rename(tmp_path / "moved")
    assert read_everything(moved)["inner"] == "hello"


def test_a_real_folder_of_that_name_is_left_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnt_project, "MOUNT", "/etc")  # which is there, as /mnt/project in Cortex's own images
    finders = list(sys.meta_path)
    assert map_values(CONFIG, project) == CONFIG
    enter_project(project, "lib", {"WORDS": "words.txt"})
    module = load_predictor_class(project, "predictor.py", "lib").module
    assert module.WEIGHTS == "/mnt/project/weights/"
    assert sys.meta_path == finders


def test_lines_are_those_of_the_source(project: Path) -> None:
    enter_project(project, "lib", {})
    loaded = load_predictor_class(project, "predictor.py", "lib")
    found = answer(create_predictor(loaded, {}), loaded, Request(b'{"do": "nothing"}'))
    assert found.error is not None
    source = (project / "predictor.py").read_text().splitlines()
    line = source.index('        return getattr(self, payload["do"])(payload)') + 1
    assert find_user_line(found.error, project) == f"{project / 'predictor.py'}:{line}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/mnt/project", True),
        ("cp /mnt/project/a .", True),
        ("file:///mnt/project/a", True),
        ("/mnt/project:/other", True),
        ("/mnt/projects", False),
        ("/mnt/project.json", False),
        ("/mnt/project_2", False),
        ("x/mnt/project", False),
        ("mnt/project", False),
    ],
)
def test_what_names_it(text: str, named: bool) -> None:
    assert names_mount(text) is named
    assert (map_values(text, Path("/here")) != text) is named


def test_the_compiler_says_what_names_it(project: Path) -> None:
    (project / "paths.json").write_text('{"weights": "/mnt/project/weights"}')
    assert mount_notices(project, project_files(project)) == (
        "package/inner.py, predictor.py: /mnt/project stands for the project's own folder, wherever the build is.",
        "paths.json: /mnt/project is known in Python sources, config and env only. Write a relative path there.",
    )
