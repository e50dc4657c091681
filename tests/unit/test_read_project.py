"""From a predictor's path to its APIs, and what is said when something in the project is not right."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cortex_compile.compiler import project_notices
from cortex_compile.compiler.artifacts import CompileSettings, Project
from cortex_compile.compiler.project_files import project_files
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.compiler.tolerances import Tolerance, Tolerances
from cortex_compile.errors import ProjectError, UsageError

NUMPY = importlib.metadata.version("numpy")


def api(name: str, path: str = "predictor.py", more: str = "") -> str:
    return f"- name: {name}\n  predictor:\n    type: python\n    path: {path}\n{more}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "My Project_2"
    folder.mkdir()
    (folder / "predictor.py").write_text("class PythonPredictor: ...\n")
    (folder / "sample.json").write_text('{"a": 1}')
    return folder


def read(
    folder: Path,
    predictor: str = "predictor.py",
    *,
    config: str | None = None,
    samples: tuple[str, ...] = (),
    name: str | None = None,
    settings: Mapping[str, object] | None = None,
) -> tuple[Project, ...]:
    path = None if config is None else folder / config
    return read_projects(folder / predictor, config=path, samples=samples, name=name, settings_overrides=settings or {})


def test_a_predictor_alone_is_named_after_its_folder(folder: Path) -> None:
    (project,) = read(folder)
    assert (project.name, project.endpoint, project.predictor) == ("my-project-2", "/my-project-2", "predictor.py")
    assert project.folder == folder
    assert (project.config, project.env, project.requirements, project.notices) == ({}, {}, (), ())
    assert [sample.name for sample in project.samples] == ["sample.json"]
    assert project.settings == CompileSettings()


def test_names_of_folders_become_names_of_apis(tmp_path: Path) -> None:
    for name, expected in (("3d-net", "api-3d-net"), ("--", "api"), ("A" * 60, "a" * 42), ("é_x", "x")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "predictor.py").write_text("")
        (folder / "sample.txt").write_text("")
        assert read(folder)[0].name == expected


def test_cortex_yaml_beside_the_predictor_is_read(folder: Path) -> None:
    more = """\
    config: {a: 1}
    env: {B: "2"}
    python_path: lib
    log_level: debug
    processes_per_replica: 2
    threads_per_process: 3
  autoscaling: {max_replica_concurrency: 7}
  networking: {endpoint: x/y}
  compile: {placement: local, leave_alone: [predictor.a], step_timeout: 10, samples: ["sample.json?q=1"],
            request_timeout: 1m30s, max_body_bytes: 1000, buckets: [64, 8, 64]}
"""
    (folder / "lib").mkdir()
    (folder / "cortex.yaml").write_text(api("iris", more=more))
    (project,) = read(folder)
    assert (project.name, project.endpoint, project.config, project.env) == ("iris", "/x/y", {"a": 1}, {"B": "2"})
    assert (project.python_path, project.log_level) == ("lib", "debug")
    assert (project.processes_per_replica, project.threads_per_process, project.max_replica_concurrency) == (2, 3, 7)
    assert project.settings == CompileSettings(
        placement="local",
        buckets=(8, 64),
        leave_alone=("predictor.a",),
        step_timeout_s=10.0,
        request_timeout_s=90.0,
        max_body_bytes=1000,
    )
    assert project.samples[0].query_string == "q=1"
    assert project.notices == ()


def test_the_command_line_comes_before_cortex_yaml(folder: Path) -> None:
    (folder / "cortex.yaml").write_text(api("iris", more="  compile: {placement: local, samples: [sample.json]}\n"))
    (folder / "other.txt").write_text("x")
    overrides = {"placement": "remote", "device": None}
    (project,) = read(folder, samples=(str(folder / "other.txt"),), settings=overrides)
    assert (project.settings.placement, project.settings.device) == ("remote", "auto")
    assert [sample.name for sample in project.samples] == ["other.txt"]


def test_the_project_begins_where_cortex_yaml_is(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "predictor.py").rename(folder / "src" / "batch-predictor.py")
    (folder / "cortex.yaml").write_text(api("iris", "src/batch-predictor.py"))
    (folder / "sample.json").rename(folder / "src" / "sample.json")
    (project,) = read(folder, "src/batch-predictor.py")
    assert (project.folder, project.predictor) == (folder, "src/batch-predictor.py")
    assert [sample.name for sample in project.samples] == ["sample.json"]


@pytest.mark.parametrize("text", [api("other", "other.py"), "- [", "name: x"])
def test_a_stray_cortex_yaml_above_is_not_ours(folder: Path, text: str) -> None:
    (folder.parent / "cortex.yaml").write_text(text)
    assert read(folder)[0].name == "my-project-2"


def test_all_apis_of_the_file_are_taken_and_a_name_picks_one(folder: Path) -> None:
    (folder / "cortex.yaml").write_text(api("a") + api("b") + api("c", "other.py"))
    assert [project.name for project in read(folder)] == ["a", "b"]
    assert [project.name for project in read(folder, name="b")] == ["b"]
    with pytest.raises(UsageError, match=r"--name 'bb': the APIs are a, b\. Did you mean 'b'\?"):
        read(folder, name="bb")


def test_all_apis_of_a_cortex_yaml(folder: Path) -> None:
    (folder / "other.py").write_text("")
    task = "- {name: nightly, kind: TaskAPI}\n"
    (folder / "cortex.yaml").write_text(api("a") + api("b", "other.py") + api("c") + task)
    found = read(folder, "cortex.yaml")
    assert [(p.name, p.predictor) for p in found] == [("a", "predictor.py"), ("b", "other.py"), ("c", "predictor.py")]
    assert all("'nightly' is a TaskAPI and is left out" in project.notices[0] for project in found)
    assert [project.name for project in read(folder, "cortex.yaml", name="b")] == ["b"]


@pytest.mark.parametrize(
    ("text", "config", "error", "words"),
    [
        (api("a", "none.py"), None, ProjectError, r"cortex\.yaml:4: .*predictor\.path: found 'none\.py', and there"),
        ("- {name: nightly, kind: TaskAPI}\n", None, ProjectError, "has no API of the kind 'RealtimeAPI'"),
        (api("a"), "cortex.yaml", UsageError, "--config '.*cortex.yaml': leave it out"),
    ],
)
def test_a_cortex_yaml_that_cannot_be_compiled(
    folder: Path, text: str, config: str | None, error: type[Exception], words: str
) -> None:
    (folder / "cortex.yaml").write_text(text)
    with pytest.raises(error, match=words):
        read(folder, "cortex.yaml", config=config)


def test_a_single_api_can_be_renamed(folder: Path) -> None:
    assert [(p.name, p.endpoint) for p in read(folder, name="other")] == [("other", "/other")]
    (folder / "cortex.yaml").write_text(api("iris"))
    assert [(p.name, p.endpoint) for p in read(folder, name="other")] == [("other", "/other")]


@pytest.mark.parametrize("name", ["config.json", "config.yaml"])
def test_a_config_file_may_hold_the_config_alone(folder: Path, name: str) -> None:
    (folder / "cortex.yaml").write_text(api("iris"))
    (folder / name).write_text(json.dumps({"threshold": 0.5}))
    (project,) = read(folder, config=name)
    assert (project.name, project.config) == ("my-project-2", {"threshold": 0.5})


def test_another_cortex_yaml_may_be_given(folder: Path) -> None:
    (folder / "gpu.yaml").write_text(api("iris-gpu"))
    assert read(folder, config="gpu.yaml")[0].name == "iris-gpu"


@pytest.mark.parametrize(
    ("predictor", "words"),
    [
        ("none.py", "there is no such file"),
        ("x" * 300, "there is no such file"),
        (".", r"is a folder.*Did you mean '.*predictor\.py'"),
        ("sample.json", "\\.py"),
    ],
)
def test_what_is_not_a_predictor_file(folder: Path, predictor: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(folder, predictor)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            api("iris", "predictr.py"),
            r"has no API whose predictor\.path is 'predictor\.py'; it has 'predictr\.py'\. Did",
        ),
        (api("iris").replace("python", "onnx"), r"cortex\.yaml:3: api 'iris', predictor\.type: found 'onnx'"),
        (api("iris", more="    models: {path: a}\n"), r":5: .*predictor\.models: .* under multi_model_reloading"),
        (api("iris", more="    python_path: nowhere\n"), r":5: .*found 'nowhere', expected a folder inside"),
        (api("iris", more="    python_path: ../\n"), "expected a folder inside"),
        (api("iris", more="  compile: {engines: [onnxruntim]}\n"), r":5: .*engines\[0\].*did you mean 'onnxruntime'"),
        (api("iris", more="  compile: {samples: [none.json]}\n"), r":5: .*samples\[0\].*no sample file '.*none\.json'"),
        (api("iris", more="  compile: {placement: x}\n"), "expected 'auto', 'local' or 'remote'"),
        (api("metrics"), "the name 'metrics' makes the endpoint '/metrics'"),
        (api("iris").replace("  predictor", "  kind: BatchAPI\n  predictor"), "found the kind 'BatchAPI', expected 'R"),
    ],
)
def test_what_is_wrong_in_cortex_yaml(folder: Path, text: str, words: str) -> None:
    (folder / "cortex.yaml").write_text(text)
    with pytest.raises(ProjectError, match=words) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_a_predictor_outside_of_its_project_is_refused(folder: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "cortex.yaml").write_text(api("iris", "../predictor.py"))
    with pytest.raises(ProjectError, match=r"found '\.\./predictor\.py', expected a path inside"):
        read(folder, config="conf/cortex.yaml")


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("none.yaml", None, UsageError, "there is no such file"),
        ("c.json", "{", ProjectError, r"c\.json:1:2: is not valid JSON"),
        ("c.yaml", "name: iris\npredictor: {}\n", ProjectError, "found one API, expected a list"),
        ("c.yaml", "1: 2\n", ProjectError, "expected a list of APIs as in cortex.yaml, or the map"),
        ("c.yaml", "text\n", ProjectError, "or the map that __init__ gets as config"),
    ],
)
def test_a_config_file_that_is_neither(
    folder: Path, name: str, text: str | None, error: type[Exception], words: str
) -> None:
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(error, match=words):
        read(folder, config=name)


def test_no_sample_is_an_error_that_says_what_to_add(folder: Path) -> None:
    (folder / "sample.json").unlink()
    with pytest.raises(ProjectError, match=r"Add one .*sample\.json.*--sample FILE.*--no-compile"):
        read(folder)
    assert read(folder, settings={"compile": False})[0].samples == ()


def test_bad_words_of_the_command_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="--name 'Iris': expected at most 42 lower-case letters"):
        read(folder, name="Iris")
    with pytest.raises(UsageError, match="unknown engine 'onnxruntim'"):
        read(folder, settings={"engines": ("onnxruntim",)})


def test_the_home_folder_is_not_a_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: folder)
    with pytest.raises(ProjectError, match="would be part of the build"):
        read(folder)


def test_env_file_values_come_over_those_of_cortex_yaml(folder: Path) -> None:
    (folder / "cortex.yaml").write_text(api("iris", more='    env: {A: "1", B: "1"}\n'))
    lines = ["# comment", "", "export A=2", "C='it is # one'", 'D="say \\"hi\\""  # note', "E=pass#word", "F="]
    (folder / ".env").write_text("\n".join(lines))
    (project,) = read(folder)
    assert project.env == {"A": "2", "B": "1", "C": "it is # one", "D": 'say "hi"', "E": "pass#word", "F": ""}
    (notice,) = project.notices
    assert "what it sets goes into the build" in notice
    assert "pass#word" not in notice


@pytest.mark.parametrize("line", ["SECRET", "A=b c", "1A=b", "A='b"])
def test_a_bad_line_of_the_env_file_is_named_and_not_shown(folder: Path, line: str) -> None:
    (folder / ".env").write_text(f"OK=1\n{line}\n")
    with pytest.raises(ProjectError, match=r"\.env:2: is not NAME=value") as caught:
        read(folder)
    assert line not in str(caught.value)


def test_requirements_are_compared_with_what_is_installed(folder: Path) -> None:
    (folder / "more.txt").write_text("click\n")
    (folder / "requirements.txt").write_text(
        f"# comment\nnumpy=={NUMPY}  # pinned\nrich[jupyter] \\\n  >=1 --hash=sha256:0\n-r more.txt\n"
        "--index-url https://example.org\nno-such-thing; python_version < '3'\npyyaml==1.0\n"
        "git+https://example.org/x.git\n"
    )
    (project,) = read(folder)
    pyyaml = f"pyyaml=={importlib.metadata.version('pyyaml')}"
    source = "git+https://example.org/x.git"
    assert project.requirements == (f"numpy=={NUMPY}", "rich[jupyter] >=1", "click", pyyaml, source)
    first, second = project.notices
    assert "requirements.txt:8: asks for 'pyyaml==1.0'; " in first
    assert "requirements.txt:9:" in second


def test_all_missing_packages_are_named(folder: Path) -> None:
    (folder / "requirements.txt").write_text("numpy\nno-such-one==1.0\nno-such-two\n")
    with pytest.raises(
        ProjectError, match=r"no-such-one, no-such-two are not installed\. Install them: pip install -r "
    ):
        read(folder)


def test_a_line_that_is_not_a_requirement_is_named(folder: Path) -> None:
    (folder / "requirements.txt").write_text("numpy\n=1\n")
    with pytest.raises(ProjectError, match=r"requirements\.txt:2: '=1' is not a requirement"):
        read(folder)


def test_requirements_may_have_another_name(folder: Path) -> None:
    (folder / "cortex.yaml").write_text(api("iris", more="    dependencies: {pip: deps.txt}\n"))
    (folder / "deps.txt").write_text("no-such-one\n")
    with pytest.raises(ProjectError, match=r"deps\.txt: no-such-one is not installed"):
        read(folder)


def test_what_has_no_effect_is_told_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "    image: x\n  compute: {cpu: 1, gpu: 1}\n  autoscaling: {min_replicas: 2}\n  monitoring: {key: a}\n"
    (folder / "cortex.yaml").write_text(
        api("iris", more=more) + api("jobs").replace("  pred", "  kind: BatchAPI\n  pred")
    )
    (folder / "dependencies.sh").write_text("apt install x")
    monkeypatch.setattr(project_notices, "has_nvidia_gpu", lambda: False)
    batch, keys, gpu, shell = read(folder)[0].notices
    assert "'jobs' is a BatchAPI and is left out" in batch
    assert keys == "cortex.yaml: kept for a cluster, without effect here: predictor.image, autoscaling, monitoring."
    assert gpu.startswith("cortex.yaml:6: api 'iris', compute.gpu: asks for 1, this machine has none")
    assert shell.startswith("dependencies.sh: is not run here")
    monkeypatch.setattr(project_notices, "has_nvidia_gpu", lambda: True)
    assert len(read(folder)[0].notices) == 3


def test_what_is_a_clusters_alone_is_kept_as_it_was_written(folder: Path) -> None:
    more = (
        "    image: x\n  compute: {cpu: 1, mem: 64Mi}\n  autoscaling: {min_replicas: 2, max_replica_concurrency: 9}\n"
    )
    more += "  update_strategy: {max_surge: 0}\n  networking: {endpoint: a, api_gateway: none}\n"
    splitter = "- name: NAME\n  kind: TrafficSplitter\n  apis: [{name: API, weight: 100}]\n"
    splitters = splitter.replace("NAME", "mine").replace("API", "iris")
    splitters += splitter.replace("NAME", "not-mine").replace("API", "other")
    (folder / "cortex.yaml").write_text(api("iris", more=more) + splitters)
    (project,) = read(folder)
    assert project.cluster == {
        "predictor": {"image": "x"},
        "compute": {"cpu": "1", "mem": "64Mi"},
        "autoscaling": {"min_replicas": 2},
        "update_strategy": {"max_surge": "0"},
        "networking": {"api_gateway": "none"},
        "traffic_splitters": [{"name": "mine", "kind": "TrafficSplitter", "apis": [{"name": "iris", "weight": 100}]}],
    }
    (told,) = project.notices
    assert told.endswith(
        "predictor.image, autoscaling, update_strategy, networking.api_gateway, TrafficSplitter 'mine'."
    )


def test_cpu_and_memory_make_no_noise(folder: Path) -> None:
    (folder / "cortex.yaml").write_text(api("iris", more="  compute: {cpu: 1, mem: 2Gi}\n"))
    (project,) = read(folder)
    assert (project.notices, project.cluster) == ((), {"compute": {"cpu": "1", "mem": "2Gi"}})


def test_a_looser_tolerance_is_told_and_a_tighter_one_is_not(folder: Path) -> None:
    tolerance = "  compile:\n    tolerance: {float32: {relative: 1e-6}, float16: {absolute: 0.1}}\n"
    (folder / "cortex.yaml").write_text(api("iris", more=tolerance))
    (project,) = read(folder)
    assert project.settings.tolerances == Tolerances(float32=Tolerance(1e-4, 1e-6), float16=Tolerance(0.1, 1e-2))
    assert project.notices == (
        "cortex.yaml:6: api 'iris', compile.tolerance: looser than the default: float16 absolute 0.1.",
    )


def test_project_files_are_what_cortex_uploaded(folder: Path) -> None:
    for name in (
        "cortex.yaml", ".hidden", ".git/config", "a.pyc", "__pycache__/a.txt", "data/keep.csv", "data/drop.csv",
        "venv/pyvenv.cfg", "venv/lib/x.py", "build/iris/manifest.json", "build/iris/model_repository/x",
        "build/notes.txt", "sub/cortex.yaml",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / ".cortexignore").write_text("*.csv\n!keep.csv\n")
    outside = folder.parent / "weights"
    outside.mkdir()
    (outside / "model.bin").write_text("")
    (folder / "models").symlink_to(outside)
    (folder / "data" / "loop").symlink_to(folder)
    expected = (
        "build/notes.txt",
        "data/keep.csv",
        "models/model.bin",
        "predictor.py",
        "sample.json",
        "sub/cortex.yaml",
    )
    assert project_files(folder) == expected


def test_a_predictor_that_is_ignored_is_told(folder: Path) -> None:
    (folder / ".cortexignore").write_text("pred*\n")
    with pytest.raises(ProjectError, match=r"predictor\.py: \.cortexignore, or a dot in its path, leaves it out"):
        read(folder)
