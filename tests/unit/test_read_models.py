"""``multi_model_reloading``, ``server_side_batching`` and NaN in cortex.yaml: what is read, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cortex_compile.compiler.artifacts import Project
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.errors import ProjectError
from cortex_compile.python_backend.manifest import BatchingSpec, ModelsSpec


def api(more: str) -> str:
    return f"- name: iris\n  predictor:\n    type: python\n    path: predictor.py\n{more}"


def models(text: str) -> str:
    return api(f"    multi_model_reloading: {text}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("predictor.py", "sample.json", "m/n/file", "hidden/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / ".cortexignore").write_text("hidden/\n")
    return tmp_path


def read(folder: Path, text: str) -> Project:
    (folder / "cortex.yaml").write_text(text)
    (project,) = read_projects(folder / "predictor.py", config=None, samples=(), name=None, settings_overrides={})
    return project


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (models("{path: s3://a/b}"), r":5: .*reloading\.path: found 's3://a/b', expected a folder of this machine"),
        (models("{path: /no/such}"), r":5: .*reloading\.path: found '/no/such', expected a folder; there is none"),
        (models("{path: nowhere}"), "expected a folder inside .*, or an absolute path"),
        (models("{path: ../}"), "expected a folder inside .*, or an absolute path"),
        (models("{dir: .}"), "expected a folder inside .*, or an absolute path"),
        (models("{path: hidden}"), r"'hidden' has no file in it that belongs to the project \(see \.cortexignore\)"),
        (models("{paths: [{name: a, path: m}, {name: b, path: n}]}"), r"paths\[1\]\.path: found 'n', expected"),
        (models("{paths: [{name: a, path: m}, {name: a, path: m}]}"), "each name once under paths"),
        (models("{path: m, dir: m}"), "exactly one of path, paths and dir"),
        (models("{}"), "exactly one of path, paths and dir"),
        (models("{path: m, cache_size: 1}"), "both cache_size and disk_cache_size, or neither"),
        (models("{path: m, cache_size: 2, disk_cache_size: 1}"), r"cache_size \(2\) at most disk_cache_size \(1\)"),
        (
            models("{path: m, cache_size: 1, disk_cache_size: 1}\n    processes_per_replica: 2"),
            "processes_per_replica 1 with multi_model_reloading.cache_size",
        ),
    ],
)
def test_models_that_cannot_be(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ProjectError, match=words) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{path: ./m}", ModelsSpec({"_cortex_default": "m"})),
        ("{path: /etc}", ModelsSpec({"_cortex_default": "/etc"})),
        ("{paths: [{name: a, path: m/}, {name: b, path: m/n}]}", ModelsSpec({"a": "m", "b": "m/n"})),
        ("{dir: m, cache_size: 2, disk_cache_size: 3}", ModelsSpec(directory="m", cache_size=2)),
    ],
)
def test_models_to_reload(folder: Path, text: str, expected: ModelsSpec) -> None:
    assert read(folder, models(text)).models == expected


def test_the_disk_cache_is_told_to_have_no_effect(folder: Path) -> None:
    (notice,) = read(folder, models("{dir: m, cache_size: 2, disk_cache_size: 3}")).notices
    assert re.search(r"cortex\.yaml:\d+: .*disk_cache_size: has no effect", notice)


def test_batching_and_nan(folder: Path) -> None:
    batching = "    server_side_batching: {max_batch_size: 4, batch_interval: 20ms}\n  compile: {nan: 'null'}\n"
    project = read(folder, api(batching))
    assert project.server_side_batching == BatchingSpec(4, 0.02)
    assert project.nan_as_null
    project = read(folder, api(""))
    assert (project.server_side_batching, project.models, project.nan_as_null) == (None, None, False)
