"""The build folder: what is in it, that it is checked, that it can be moved."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from tritonclient.grpc import model_config_pb2

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.artifacts import ChosenCore, CompileSettings, Project
from cortex_compile.compiler.write_build import write_build
from cortex_compile.errors import BuildError, EngineError
from cortex_compile.python_backend.manifest import (
    Core,
    Dimension,
    Leaf,
    Manifest,
    Placement,
    TensorSpec,
    Variant,
    check_build,
)

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


def settings_of(engine: str, threads: int) -> TritonSettings | None:
    if engine != "onnxruntime":
        return None
    return TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": str(threads)})


def make_project(folder: Path) -> Project:
    (folder / "data").mkdir(parents=True)
    (folder / "predictor.py").write_text("class PythonPredictor: ...\n")
    (folder / "data" / "labels.json").write_text("[]")
    (folder / "cortex.yaml").write_text("[]")
    (folder / ".cortexignore").write_text("*.csv\n")
    (folder / "big.csv").write_text("1,2")
    return Project(
        name="iris",
        endpoint="/iris",
        folder=folder,
        predictor="predictor.py",
        config={"a": 1},
        env={"B": "2"},
        python_path=None,
        log_level="info",
        processes_per_replica=2,
        threads_per_process=1,
        max_replica_concurrency=64,
        requirements=("requests>=2", "numpy"),
        samples=(),
        settings=CompileSettings(),
    )


def save_graph(folder: Path, name: str) -> None:
    """y = x @ W, with W in weights.bin beside the graph."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(WEIGHTS.nbytes))):
        weights.external_data.add(key=key, value=value)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, outputs, [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / name).write_bytes(model.SerializeToString())


def make_core(folder: Path, placement: Placement, engine: str = "onnxruntime") -> ChosenCore:
    folder.mkdir()
    (folder / "weights.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "candidate.log").write_text("not of the build")
    variants = []
    for name in ("first", "second"):
        save_graph(folder, f"{name}.onnx")
        variants.append(
            Variant(
                name=name,
                arguments="",
                argument_leaves=(Leaf(tensor=0),),
                result="",
                result_leaves=(Leaf(tensor=0),),
                inputs=(TensorSpec("x", "float32", ("batch", 4)),),
                outputs=(TensorSpec("y", "float32", ("batch", 3)),),
                dimensions=(Dimension("batch", 1, 16),),
                batch_dimension="batch",
                graph=f"{name}.onnx",
            )
        )
    core = Core(
        name="model",
        path="predictor.model",
        class_name="torch.nn.Linear",
        structure_sha256="",
        weights_sha256="",
        attributes=(),
        engine=engine,
        placement=placement,
        threads=2,
        weights_file="weights.bin",
        parameters=(),
        variants=tuple(variants),
    )
    return ChosenCore(core, folder)


def build(tmp_path: Path, placement: Placement | None = None, **changed: Any) -> tuple[Path, Manifest]:
    project = replace(make_project(tmp_path / "project"), **changed)
    cores = [] if placement is None else [make_core(tmp_path / "core", placement)]
    folder = tmp_path / "build"
    folder.mkdir()
    return folder, write_build(project, cores, settings_of, folder, {"python": "3.11"})


def run_graph(graph: Path) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    x = np.ones((2, 4), dtype=np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ WEIGHTS)


def test_the_project_and_the_runtime_are_in_it(tmp_path: Path) -> None:
    folder, manifest = build(tmp_path)
    version = folder / "model_repository" / "iris" / "1"
    project = {path.relative_to(version / "project").as_posix() for path in (version / "project").rglob("*.*")}
    assert project == {"predictor.py", "data/labels.json"}
    runtime = importlib.resources.files("cortex_compile.python_backend")
    expected = {file.name for file in runtime.iterdir() if file.name.endswith(".py")}
    assert {path.name for path in (version / "_runtime").iterdir()} == expected
    assert "model.py" in expected
    assert (version / "model.py").is_file()
    assert check_build(folder) == manifest
    assert (folder / "manifest.json").read_bytes() == (version / "manifest.json").read_bytes()
    assert "iris/1/manifest.json" not in manifest.files
    assert "iris/config.pbtxt" in manifest.files
    assert (manifest.env, manifest.config, manifest.compiled_with) == ({"B": "2"}, {"a": 1}, {"python": "3.11"})


def test_what_streams_and_the_limits_of_requests_are_in_the_manifest(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    settings = replace(project.settings, request_timeout_s=7.0, max_body_bytes=99)
    (tmp_path / "build").mkdir()
    project = replace(project, settings=settings, idempotent=True)
    write_build(project, [], settings_of, tmp_path / "build", {}, streaming=True)
    manifest = check_build(tmp_path / "build")
    assert (manifest.streaming, manifest.request_timeout_s, manifest.max_body_bytes) == (True, 7.0, 99)
    assert manifest.idempotent


def test_a_local_core_runs_from_the_version_folder(tmp_path: Path) -> None:
    folder, manifest = build(tmp_path, "local")
    version = folder / "model_repository" / "iris" / "1"
    assert {path.name for path in (version / "cores" / "model").iterdir()} == {
        "first.onnx",
        "second.onnx",
        "weights.bin",
    }
    (core,) = manifest.cores
    assert core.weights_file == "cores/model/weights.bin"
    assert [variant.graph for variant in core.variants] == ["cores/model/first.onnx", "cores/model/second.onnx"]
    for variant in core.variants:
        run_graph(version / variant.graph)
    assert {path.name for path in (folder / "model_repository").iterdir()} == {"iris"}
    assert check_build(folder) == manifest


def test_a_remote_core_is_a_model_of_its_own_for_each_variant(tmp_path: Path) -> None:
    folder, manifest = build(tmp_path, "remote")
    repository = folder / "model_repository"
    (core,) = manifest.cores
    assert [variant.graph for variant in core.variants] == ["iris--model", "iris--model--second"]
    weights = repository / "iris" / "1" / "cores" / "model" / "weights.bin"
    for variant in core.variants:
        model = repository / variant.graph
        run_graph(model / "1" / "model.onnx")
        assert os.path.samefile(model / "1" / "weights.bin", weights)
        kinds = {}
        for name in ("config.pbtxt", "configs/cpu.pbtxt", "configs/gpu.pbtxt"):
            config = text_format.Parse((model / name).read_text(), model_config_pb2.ModelConfig())
            assert (config.name, config.backend, config.max_batch_size) == (variant.graph, "onnxruntime", 16)
            kinds[name] = model_config_pb2.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind)
        assert list(kinds.values()) == ["KIND_CPU", "KIND_CPU", "KIND_GPU"]
    assert not (repository / "iris" / "1" / "cores" / "model" / "first.onnx").exists()
    assert check_build(folder) == manifest


def test_external_data_inside_a_branch_comes_along(tmp_path: Path) -> None:
    chosen = make_core(tmp_path / "core", "local")
    path = chosen.folder / "first.onnx"
    inner = onnx.load(path, load_external_data=False).graph
    del inner.input[:]
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    data = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [condition, data], list(inner.output))
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    core = replace(chosen.core, weights_file=None, variants=chosen.core.variants[:1])
    folder = tmp_path / "build"
    folder.mkdir()
    write_build(make_project(tmp_path / "project"), [replace(chosen, core=core)], settings_of, folder, {})
    assert (folder / "model_repository" / "iris" / "1" / "cores" / "model" / "weights.bin").is_file()


@pytest.mark.parametrize("name", ["iris/1/cores/model/weights.bin", "iris/config.pbtxt", "iris/1/project/predictor.py"])
def test_one_other_byte_is_found(tmp_path: Path, name: str) -> None:
    folder, _ = build(tmp_path, "local")
    path = folder / "model_repository" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(bytes(data))
    with pytest.raises(BuildError, match=f"{path}: was changed"):
        check_build(folder)
    path.unlink()
    with pytest.raises(BuildError, match=f"{path}: is missing"):
        check_build(folder)


def test_others_may_read_it_whatever_the_umask_and_the_files_of_the_project(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project.folder / "predictor.py").chmod(0o600)
    (project.folder / "data" / "labels.json").chmod(0o740)
    core = make_core(tmp_path / "core", "remote")
    (core.folder / "weights.bin").chmod(0o600)
    folder = tmp_path / "build"
    before = os.umask(0o077)
    try:
        folder.mkdir()
        write_build(project, [core], settings_of, folder, {})
    finally:
        os.umask(before)
    modes = {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    executable = "model_repository/iris/1/project/data/labels.json"
    assert modes.pop(executable) == 0o755
    assert {mode for name, mode in modes.items() if (folder / name).is_dir()} == {0o755}
    assert {mode for name, mode in modes.items() if (folder / name).is_file()} == {0o644}
    assert folder.stat().st_mode & 0o777 == 0o755


def test_it_can_be_moved(tmp_path: Path) -> None:
    folder, manifest = build(tmp_path, "remote")
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    for name in ("build", "core", "project"):
        shutil.rmtree(tmp_path / name)
    assert check_build(moved) == manifest
    run_graph(moved / "model_repository" / "iris--model" / "1" / "model.onnx")
    assert str(tmp_path) not in (moved / "manifest.json").read_text()


def test_the_requirements_are_the_users_and_what_the_runtime_uses(tmp_path: Path) -> None:
    _, manifest = build(tmp_path, "local")
    names = [line.partition("==")[0] for line in manifest.requirements]
    assert names == ["requests>=2", "numpy", "torch", "onnxruntime", "starlette>=0.44", "python-multipart>=0.0.18"]
    assert f"numpy=={importlib.metadata.version('numpy')}" in manifest.requirements
    assert "+" not in "".join(manifest.requirements)


def test_what_the_runtime_needs_at_least_is_joined_with_what_the_user_asks_for(tmp_path: Path) -> None:
    lines = ("Starlette[full]<2,==1.10.0; python_version > '3'", "python_multipart")
    _, manifest = build(tmp_path, "local", requirements=lines)
    found = [Requirement(line) for line in manifest.requirements[:2]]
    asked_for = [(each.specifier, each.extras) for each in found]
    assert asked_for == [(SpecifierSet("<2,==1.10.0,>=0.44"), {"full"}), (SpecifierSet(">=0.0.18"), set())]
    assert found[0].marker is not None


def test_the_runtime_minimum_is_the_packages_own(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    own = {each.name: each.specifier for each in map(Requirement, tomllib.loads(text)["project"]["dependencies"])}
    _, manifest = build(tmp_path, "local")
    for each in map(Requirement, manifest.requirements[-2:]):
        (lowest,), (ours,) = each.specifier, own[each.name]
        assert Version(ours.version) >= Version(lowest.version), each.name


def test_a_remote_core_of_an_engine_without_a_triton_backend_is_refused(tmp_path: Path) -> None:
    core = make_core(tmp_path / "core", "remote", engine="eager")
    (tmp_path / "build").mkdir()
    with pytest.raises(EngineError, match="model: Triton has no backend for 'eager'"):
        write_build(make_project(tmp_path / "project"), [core], settings_of, tmp_path / "build", {})
