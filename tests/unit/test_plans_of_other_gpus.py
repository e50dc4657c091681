"""A build that is compiled again on a machine with another GPU keeps the plans that it had.

The plans here are any bytes: what is to be right is which of them is kept, and what Triton is told of it. No GPU has
run any of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler import earlier_build, pipeline
from cortex_compile.compiler.artifacts import ChosenCore, Project
from cortex_compile.compiler.build_report import with_gpu_schedule
from cortex_compile.compiler.library_versions import library_versions
from cortex_compile.compiler.plans_of_other_gpus import keep_plans_of_other_gpus
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.compiler.reconfigure_build import reconfigure_build
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.compiler.write_build import write_build
from cortex_compile.launchers.container_resources import resources_of
from cortex_compile.launchers.served_models import read_models
from cortex_compile.python_backend.manifest import Core, Dimension, Manifest, check_build, sha256_of, write_manifest

from .example_report import EXAMPLE
from .test_write_build import make_core, make_project

MODELS = ("iris--model", "iris--model--second")
VERSIONS = {"torch": "2.13", "tensorrt": "10.4"}


def settings_of(engine: str, threads: int) -> TritonSettings:
    return TritonSettings(engine, "model.plan", warm_up=True, cuda_graphs=True)


def compiled(
    folder: Path,
    capability: str | None,
    *,
    earlier: Path | None = None,
    versions: dict[str, str] = VERSIONS,
    change_core: Callable[[Core], Core] = lambda core: core,
    change_project: Callable[[Project], Project] = lambda project: project,
) -> tuple[Path, Manifest]:
    """A build as a machine with such a GPU makes it, with the plans of ``earlier`` kept. Each says where it is from."""
    folder.mkdir()
    core = make_core(folder / "core", "remote", engine="tensorrt").core
    for variant in core.variants:
        (folder / "core" / f"{variant.name}.plan").write_text(f"{variant.name} on {capability}")
    variants = tuple(replace(variant, graph=f"{variant.name}.plan") for variant in core.variants)
    chosen = ChosenCore(change_core(replace(core, variants=variants)), folder / "core")
    project = change_project(make_project(folder / "project"))
    build = folder / "build"
    build.mkdir()
    gpu = {} if capability is None else {"gpu": f"of {capability}", "compute_capability": capability}
    manifest = write_build(project, [chosen], settings_of, build, versions | gpu)
    if earlier is not None:
        manifest = keep_plans_of_other_gpus(manifest, build, earlier)
    assert check_build(build) == manifest
    return build, manifest


def plans_of(build: Path, model: str = MODELS[0]) -> dict[str, str]:
    """What Triton takes on a GPU of each compute capability, by its own words; "" is any other."""
    folder = build / "model_repository" / model
    configs = [
        text_format.Parse((folder / name).read_text(), model_config_pb2.ModelConfig())
        for name in ("config.pbtxt", "configs/gpu.pbtxt")
    ]
    assert configs[0] == configs[1]
    names = {**configs[0].cc_model_filenames, "": configs[0].default_model_filename}
    assert sorted(path.name for path in (folder / "1").iterdir()) == sorted(names.values())
    return {capability: (folder / "1" / name).read_text() for capability, name in names.items()}


def test_a_plan_for_another_gpu_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    first, _ = compiled(tmp_path / "first", "8.0")
    assert plans_of(first) == {"": "first on 8.0"}
    second, manifest = compiled(tmp_path / "second", "9.0", earlier=first)
    assert plans_of(second) == {"8.0": "first on 8.0", "": "first on 9.0"}
    assert plans_of(second, MODELS[1]) == {"8.0": "second on 8.0", "": "second on 9.0"}
    # All else of the config is as it was.
    (model,) = (model for model in read_models(second / "model_repository", "gpu") if model.name == MODELS[0])
    assert (model.backend, model.gpu_instances) == ("tensorrt", 1)
    # A GPU takes one of them.
    assert {need.weights_bytes for need in manifest.gpu_memory} == {len("first on 9.0"), len("second on 9.0")}


def test_a_container_needs_no_memory_for_them(tmp_path: Path) -> None:
    first, _ = compiled(tmp_path / "first", "8.0")
    second, manifest = compiled(tmp_path / "second", "9.0", earlier=first)
    before = resources_of(manifest, second, 1)
    with (second / "model_repository" / MODELS[0] / "1" / "model-8.0.plan").open("ab") as plan:
        plan.truncate(10_000_000)
    assert resources_of(manifest, second, 1) == before


def test_any_number_of_them_and_never_an_older_one_for_the_same_gpu(tmp_path: Path) -> None:
    first, _ = compiled(tmp_path / "first", "8.0")
    second, _ = compiled(tmp_path / "second", "9.0", earlier=first)
    third, _ = compiled(tmp_path / "third", "7.5", earlier=second)
    assert plans_of(third) == {"8.0": "first on 8.0", "9.0": "first on 9.0", "": "first on 7.5"}
    (tmp_path / "again").mkdir()
    again, _ = compiled(tmp_path / "again" / "first", "8.0", earlier=third)
    assert plans_of(again) == {"7.5": "first on 7.5", "9.0": "first on 9.0", "": "first on 8.0"}
    assert not (again / "model_repository" / MODELS[0] / "1" / "model-8.0.plan").exists()


def with_longer_batches(core: Core) -> Core:
    return replace(
        core, variants=tuple(replace(each, dimensions=(Dimension("batch", 1, 64),)) for each in core.variants)
    )


def with_other_code(project: Project) -> Project:
    (project.folder / "predictor.py").write_text("class PythonPredictor: ...  # another forward, say\n")
    return project


@pytest.mark.parametrize(
    "changed",
    [
        {"versions": VERSIONS | {"tensorrt": "10.5"}},
        {"versions": VERSIONS | {"torch": "2.14"}},
        {"change_core": lambda core: replace(core, weights_sha256="other")},
        {"change_core": lambda core: replace(core, structure_sha256="other")},
        {"change_core": lambda core: replace(core, precision="fp16")},
        {"change_core": with_longer_batches},
        {"change_project": with_other_code},
        {"change_project": lambda project: replace(project, config={"a": 2})},
    ],
    ids=["tensorrt", "torch", "weights", "structure", "precision", "sizes", "code", "config"],
)
def test_what_may_compute_something_else_is_not_kept(tmp_path: Path, changed: Any) -> None:
    first, _ = compiled(tmp_path / "first", "8.0")
    second, _ = compiled(tmp_path / "second", "9.0", earlier=first, **changed)
    assert plans_of(second) == {"": "first on 9.0"}


def test_nor_what_is_no_plan(tmp_path: Path) -> None:
    first, _ = compiled(tmp_path / "first", "8.0", change_core=lambda core: replace(core, engine="onnxruntime"))
    second, _ = compiled(tmp_path / "second", "9.0", earlier=first)
    assert plans_of(second) == {"": "first on 9.0"}


def test_nothing_of_a_build_that_is_damaged_or_is_none(tmp_path: Path) -> None:
    first, _ = compiled(tmp_path / "first", "8.0")
    plan = first / "model_repository" / MODELS[1] / "1" / "model.plan"
    plan.write_text("not what was compiled")
    second, _ = compiled(tmp_path / "second", "9.0", earlier=first)
    assert plans_of(second) == {"": "first on 9.0"}
    third, _ = compiled(tmp_path / "third", "9.0", earlier=tmp_path / "nowhere")
    assert plans_of(third) == {"": "first on 9.0"}


@pytest.mark.parametrize(("old", "new"), [(None, "9.0"), ("8.0", None), ("../8.0", "9.0")])
def test_nothing_where_it_is_not_known_for_which_gpu_a_plan_is(
    tmp_path: Path, old: str | None, new: str | None
) -> None:
    first, _ = compiled(tmp_path / "first", old)
    second, _ = compiled(tmp_path / "second", new, earlier=first)
    assert plans_of(second) == {"": f"first on {new}"}


def test_a_config_that_leads_out_of_its_model_is_not_followed(tmp_path: Path) -> None:
    first, manifest = compiled(tmp_path / "first", "8.0")
    (first / "model_repository" / "iris" / "1" / "project" / "secret").write_text("a file that came later")
    config = first / "model_repository" / MODELS[0] / "config.pbtxt"
    config.write_text('cc_model_filenames { key: "7.5" value: "../../iris/1/project/secret" }')
    manifest.files[f"{MODELS[0]}/config.pbtxt"] = sha256_of(config)
    for place in (first / "manifest.json", first / "model_repository" / "iris" / "1" / "manifest.json"):
        write_manifest(manifest, place)
    second, _ = compiled(tmp_path / "second", "9.0", earlier=first)
    assert plans_of(second) == {"": "first on 9.0"}


def test_tuning_keeps_them(tmp_path: Path) -> None:
    first, _ = compiled(tmp_path / "first", "8.0")
    second, before = compiled(tmp_path / "second", "9.0", earlier=first)
    tuned = tmp_path / "tuned"
    manifest = reconfigure_build(second, tuned, Configuration("remote", 2, 1, "in turn", 1))
    assert check_build(tuned) == manifest
    assert plans_of(tuned) == {"8.0": "first on 8.0", "": "first on 9.0"}
    assert manifest.gpu_memory == before.gpu_memory


def test_the_report_tells_of_them(tmp_path: Path) -> None:
    first, alone = compiled(tmp_path / "first", "8.0")
    _, both = compiled(tmp_path / "second", "9.0", earlier=first)
    report = replace(EXAMPLE, modules=(replace(EXAMPLE.modules[0], name="model"),))
    project = make_project(tmp_path / "project")
    said = [with_gpu_schedule(report, project.settings, each).modules[0].on_gpu for each in (alone, both)]
    assert said[1] == (*said[0], "plans of earlier compiles are kept, for GPUs of compute capability 8.0")


def test_compiling_looks_for_them_where_the_build_will_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "predictor.py").write_text(
        "class PythonPredictor:\n    def __init__(self, config): ...\n    def predict(self, payload): ...\n"
    )
    asked = []

    def keep(manifest: Manifest, build: Path, earlier: Path) -> Manifest:
        assert check_build(build) == manifest
        asked.append((manifest.name, earlier))
        return manifest

    monkeypatch.setattr(pipeline, "keep_plans_of_other_gpus", keep)
    (project,) = read_projects(
        tmp_path / "predictor.py", config=None, samples=(), name=None, settings_overrides={"compile": False}
    )
    output = tmp_path / "build" / "here"
    pipeline.compile_predictor(
        project, output, command="", only=None, fresh=False, dry_run=False, tell=lambda line: None
    )
    assert asked == [(project.name, output)]


def test_a_build_tells_for_which_gpu_it_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = importlib.import_module("torch").cuda
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(cuda, "get_device_capability", lambda: (9, 0))
    found = library_versions()
    assert (found["gpu"], found["compute_capability"]) == ("NVIDIA H200", "9.0")


def test_a_build_of_a_machine_with_another_gpu_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project")
    monkeypatch.setattr(earlier_build, "_GPUS", tmp_path / "gpus")
    without = earlier_build.inputs_sha256(project, None)
    told = tmp_path / "gpus" / "0000:04:00.0" / "information"
    told.parent.mkdir(parents=True)
    told.write_text("Model: \t\t NVIDIA A100\n")
    first = earlier_build.inputs_sha256(project, None)
    told.write_text("Model: \t\t NVIDIA H200\n")
    assert len({without, first, earlier_build.inputs_sha256(project, None)}) == 3
