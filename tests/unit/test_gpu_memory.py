"""What cores take of a GPU: estimated from a graph, told in the manifest, compared with what is free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cortex_compile.backends.onnx_memory import ActivationEstimate, estimate_activations
from cortex_compile.compiler.gpu_memory import gpu_memory_of
from cortex_compile.compiler.gpu_schedule import GpuSchedule, gpu_memory_in_words
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.errors import LaunchError
from cortex_compile.launchers import gpu_memory
from cortex_compile.launchers.docker_engine import Gpus
from cortex_compile.launchers.gpu_memory import Gpu, check_gpu_memory, parse_gpus_of_nvidia_smi, read_gpus
from cortex_compile.launchers.served_models import ServedModel
from cortex_compile.python_backend.manifest import (
    Core,
    Dimension,
    GpuMemory,
    Manifest,
    TensorSpec,
    Variant,
    write_manifest,
)

GIB = 2**30


def save_graph(path: Path, nodes: list[Any], initializers: list[Any] | None = None) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def estimate(path: Path, nodes: list[Any], initializers: list[Any] | None = None) -> ActivationEstimate:
    return estimate_activations(save_graph(path / "model.onnx", nodes, initializers), {"x": (10, 4)})


def test_a_tensor_counts_from_where_it_is_made_to_where_it_is_last_read(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.zeros((4, 100), np.float32), "w")
    wide = helper.make_node("MatMul", ["x", "w"], ["wide"])
    exp = helper.make_node("Exp", ["wide"], ["exp"])
    back = helper.make_node("ReduceSum", ["exp"], ["y"])
    # x takes 160 bytes, wide and exp 4000 each; weights are not counted.
    assert estimate(tmp_path, [wide, exp, back], [weights]) == ActivationEstimate(8160, 0)
    both = helper.make_node("Add", ["exp", "wide"], ["y"])
    assert estimate(tmp_path, [wide, exp, both], [weights]) == ActivationEstimate(12160, 0)


def test_one_branch_of_an_if_runs(tmp_path: Path) -> None:
    def branch(name: str, columns: int) -> Any:
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        weights = numpy_helper.from_array(np.zeros((4, columns), np.float32), f"w{columns}")
        nodes = [
            helper.make_node("MatMul", ["x", f"w{columns}"], [f"m{columns}"]),
            helper.make_node("ReduceSum", [f"m{columns}"], [name]),
        ]
        return helper.make_graph(nodes, name, [], [output], [weights])

    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch("then", 100), else_branch=branch("else", 1000)),
    ]
    found = estimate(tmp_path, nodes)
    assert 40_000 <= found.peak_bytes < 41_000


def test_what_a_branch_reads_is_kept_until_the_if_has_run(tmp_path: Path) -> None:
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("ReduceSum", ["wide"], ["sum"])], "branch", [], [output])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["wide"]),
        helper.make_node("MatMul", ["x", "w"], ["other"]),
        helper.make_node("ReduceSum", ["other"], ["small"], keepdims=0),
        helper.make_node("Cast", ["small"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    weights = numpy_helper.from_array(np.zeros((4, 100), np.float32), "w")
    # x takes 160 bytes, wide and other 4000 each, small 4; only a branch reads wide.
    assert estimate(tmp_path, nodes, [weights]).peak_bytes == 8164


def test_tensors_of_unknown_size_are_counted_and_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["found"]),  # as many as there are
        helper.make_node("Cast", ["found"], ["y"], to=TensorProto.FLOAT),
    ]
    found = estimate(tmp_path, nodes)
    assert found.guessed == 2
    assert found.peak_bytes == 3 * 160


VARIANT = Variant(
    "v", "", (), "", (), (TensorSpec("x", "float32", ("batch", 4)),), (),
    (Dimension("batch", 1, 10),), "batch", "api--m",
)  # fmt: skip
CORE = Core("m", "predictor.m", "M", "", "", (), "onnxruntime", "remote", 1, None, (), (VARIANT,))


def test_the_manifest_tells_of_remote_cores(tmp_path: Path) -> None:
    folder = tmp_path / "api--m" / "1"
    folder.mkdir(parents=True)
    graph = save_graph(folder / "model.onnx", [helper.make_node("Exp", ["x"], ["y"])])
    (folder / "weights.bin").write_bytes(bytes(1000))
    (found,) = gpu_memory_of([CORE, replace(CORE, name="local", placement="local")], tmp_path, GpuSchedule())
    assert (found.model, found.weights_bytes) == ("api--m", graph.stat().st_size + 1000)
    assert (found.activation_bytes, found.source) == (320, "estimated from the graph's shapes for x [10, 4]")
    (said,) = gpu_memory_of([CORE], tmp_path, GpuSchedule(memory_bytes=3 * GIB))
    assert (said.weights_bytes, said.activation_bytes) == (3 * GIB, 0)
    graph.rename(folder / "model.plan")
    (plan,) = gpu_memory_of([CORE], tmp_path, GpuSchedule())
    assert plan.activation_bytes == 0
    assert "not known" in gpu_memory_in_words(plan)


def test_cortex_yaml_says_how_gpus_are_shared(tmp_path: Path) -> None:
    gpu = "{devices: [1, 0, 1], instances: 2, priority: 3, queue_delay: 250us, cuda_graphs: false, memory: 3Gi}"
    (tmp_path / "predictor.py").write_text("class PythonPredictor: ...\n")
    (tmp_path / "cortex.yaml").write_text(
        f"- name: a\n  predictor: {{type: python, path: predictor.py}}\n  compile: {{gpu: {gpu}}}\n"
    )
    overrides = {"compile": False}
    (project,) = read_projects(
        tmp_path / "predictor.py", config=None, samples=(), name=None, settings_overrides=overrides
    )
    assert project.settings.gpu == GpuSchedule((0, 1), 2, 3, 250, False, 3 * GIB)


def build_with(folder: Path, *needs: GpuMemory) -> Path:
    folder.mkdir()
    manifest = Manifest(
        1, "api", "/api", "predictor.py", {}, {}, None, "info", 1, 1, 8, (), (), {}, gpu_memory=needs
    )  # fmt: skip
    write_manifest(manifest, folder / "manifest.json")
    return folder


def served(name: str, instances: int, gpus: tuple[int, ...] = ()) -> ServedModel:
    return ServedModel(name, Path(name), "onnxruntime", instances, {}, instances, gpus)


def gpu(free_gib: float) -> Gpu:
    return Gpu("NVIDIA L4", 24 * GIB, int(free_gib * GIB))


def test_what_fits_is_told_and_what_does_not_is_refused_with_the_numbers(tmp_path: Path) -> None:
    build = build_with(tmp_path / "b", GpuMemory("api--m", GIB, 2 * GIB, "estimated"))
    (line,) = check_gpu_memory([build], [served("api--m", 2)], [gpu(6.5)])
    assert line == (
        "GPU 0 (NVIDIA L4) has 6.50 GiB of 24.00 GiB free, and the compiled modules need about 6.50 GiB: "
        "api--m 2 × (1.00 GiB weights + 2.00 GiB activations, estimated) and 0.50 GiB for CUDA."
    )
    with pytest.raises(LaunchError, match=r"GPU 1 .* has 6\.40 GiB .* need about 6\.50 GiB: .*compile\.gpu\.instances"):
        check_gpu_memory([build], [served("api--m", 2)], [gpu(20), gpu(6.4)])
    assert len(check_gpu_memory([build], [served("api--m", 2, gpus=(0,))], [gpu(20), gpu(6.4)])) == 1


def test_a_person_who_knows_better_may_start_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = build_with(tmp_path / "b", GpuMemory("api--m", GIB, 0, "of the plan"))
    monkeypatch.setenv("CORTEX_COMPILE_GPU_MEMORY", "unchecked")
    (line,) = check_gpu_memory([build], [served("api--m", 1)], [gpu(0.1)])
    assert "api--m 1 × (1.00 GiB, of the plan)" in line


def test_cores_on_the_cpu_need_no_gpu_and_a_machine_that_tells_nothing_is_said_to(tmp_path: Path) -> None:
    build = build_with(tmp_path / "b", GpuMemory("api--m", GIB, GIB, "estimated"))
    on_cpu = ServedModel("api--m", Path("api--m"), "onnxruntime", 1)
    assert check_gpu_memory([build], [on_cpu], []) == []
    (line,) = check_gpu_memory([build], [served("api--m", 1)], [])
    assert line.startswith("GPU memory was not checked")


def test_nvidia_smi_is_read_and_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "NVIDIA A100-SXM4-40GB, MIG, 40960, 40000\nNVIDIA GH200, [N/A], [N/A]\n"
    (first,) = parse_gpus_of_nvidia_smi(text)
    assert first == Gpu("NVIDIA A100-SXM4-40GB, MIG", 40960 * 2**20, 40000 * 2**20)
    monkeypatch.setattr(gpu_memory, "_QUERY", ["/nowhere/nvidia-smi"])
    assert read_gpus() == ()


def test_a_container_sees_the_gpus_that_it_was_given() -> None:
    assert Gpus(ids=("2", "0")).among(["a", "b", "c"]) == ("a", "c")
    assert Gpus(all=True).among(["a", "b"]) == ("a", "b")
