"""``cortex-compile inspect``, run as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cortex_compile.compiler.artifacts import (
    Attempt,
    CompileSettings,
    Measurement,
    MemoryReport,
    ModuleReport,
    Project,
    Report,
    SampleReport,
    SignatureReport,
    SizeCurve,
    SizePoint,
)
from cortex_compile.compiler.report import write_report
from cortex_compile.compiler.write_build import write_build

INPUTS = "input_ids int64[8, 128]"

REPORT = Report(
    version=1,
    name="iris",
    predictor="predictor.py",
    created_at="2026-11-22 10:48 UTC",
    seconds=3.2,
    command="cortex-compile predictor.py",
    machine={"cpu": "one"},
    notices=("compute.cpu has no effect [here]",),
    modules=(
        ModuleReport(
            name="model",
            path="predictor.model",
            class_name="torch.nn.Linear",
            called_from="predictor.py:9",
            calls=3,
            parameters=4_963,
            parameter_bytes=19_852,
            engine="onnxruntime",
            placement="local",
            decision="Runs on onnxruntime.",
            signatures=(
                SignatureReport(
                    variant="call-1",
                    inputs=(INPUTS,),
                    calls=3,
                    attempts=(
                        Attempt(
                            "onnxruntime",
                            None,
                            "",
                            "",
                            None,
                            (Measurement(INPUTS, 8, 9, 2, 3, 4.0, 9, 2),),
                            curves=(SizeCurve("batch", 1, (SizePoint(1, 3, 1), SizePoint(32, 50, 40))),),
                            session_mib=2.0,
                        ),
                        Attempt("openvino", "export", "It has no such operator.", ""),
                    ),
                ),
            ),
        ),
    ),
    samples=(SampleReport("sample.json", 200, True, 12.4, 4.31, 2.88),),
    memory=MemoryReport(801.0, 383.0, 612.0, 201.0),
    peak_mib={"trying engines": 1024.0},
)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "predictor.py").write_text("class PythonPredictor: ...\n")
    project = Project(
        "iris",
        "/iris",
        tmp_path / "project",
        "predictor.py",
        {},
        {},
        None,
        "info",
        1,
        1,
        1024,
        (),
        (),
        CompileSettings(),
    )
    folder = tmp_path / "build"
    folder.mkdir()
    write_build(project, [], lambda engine, threads: None, folder, {})
    write_report(REPORT, folder)
    return folder


def inspect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cortex_compile", "inspect", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_report_is_shown_plain_in_a_pipe(build: Path) -> None:
    result = inspect(str(build))
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "iris"
    assert "! compute.cpu has no effect [here]" in lines
    assert "sample.json 200 12.4 4.31 2.88× equal" in lines
    assert "Memory of one process: 801 MiB before, 383 MiB after." in lines
    assert "Of it shared with no other process: 612 MiB before, 201 MiB after." in lines
    assert "Compiling took at most 1.0 GiB for trying engines." in lines
    assert "its graphs take about 2.0 MiB of memory when opened" in lines
    assert "by batch before ms after ms speed-up" in lines
    assert "32 50.0 40.0 1.25×" in lines
    assert "predictor.model [onnxruntime, local]" in lines
    assert "call-1 on onnxruntime equal and faster" in lines
    assert f"{INPUTS} 8.00 2.00 4.00×" in lines
    assert "call-1 on openvino refused at export: It has no such operator." in lines
    assert lines[-1] == f"More: {build / 'report.html'}"


def test_json_is_the_report(build: Path) -> None:
    result = inspect(str(build), "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout) == json.loads((build / "report.json").read_text())


def test_a_build_that_was_edited_is_refused(build: Path) -> None:
    path = build / "model_repository" / "iris" / "1" / "project" / "predictor.py"
    path.write_text("class PythonPredictor: pass\n")
    result = inspect(str(build))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{path}: was changed after compiling" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_is_not_a_build(tmp_path: Path) -> None:
    result = inspect(str(tmp_path))
    assert result.returncode == 1
    assert f"{tmp_path} is not a build" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_build_without_a_report(build: Path) -> None:
    (build / "report.json").unlink()
    result = inspect(str(build))
    assert result.returncode == 1
    assert "has no report.json" in result.stderr
