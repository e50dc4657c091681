"""`tune` on a real server: the fastest configuration that answers rightly is written into the build."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.cli import tune as tune_module
from cortex_compile.cli.load import Shot
from cortex_compile.compiler import tune_space
from cortex_compile.compiler.reconfigure_build import configuration_of
from cortex_compile.compiler.report import read_report, write_report
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.compiler.write_build import write_build
from cortex_compile.errors import LaunchError
from cortex_compile.launchers.server_folder import find_installed_server
from cortex_compile.python_backend.manifest import check_build

from ..unit.example_report import EXAMPLE
from ..unit.test_write_build import make_core, make_project, settings_of

PREDICTOR = """
import json
import time
from pathlib import Path

MANIFEST = Path(__file__).resolve().parent.parent / "manifest.json"


class PythonPredictor:
    def __init__(self, config):
        dispatch = json.loads(MANIFEST.read_text())["dispatch"] if MANIFEST.exists() else None
        self.alone = dispatch is None or dispatch["kind"] != "passed turn"

    def predict(self, payload):
        time.sleep(0.01)
        return {"x": payload["x"], "alone": self.alone}
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))
    project = make_project(tmp_path / "project")
    (tmp_path / "project" / "predictor.py").write_text(PREDICTOR)
    folder = tmp_path / "build"
    folder.mkdir()
    write_build(project, [make_core(tmp_path / "core", "local")], settings_of, folder, {})
    write_report(replace(EXAMPLE, tuning=None), folder)
    return folder


def test_the_winner_is_written_and_wrong_answers_are_refused(
    build: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    one = Configuration("local", 1, 1, "in turn", 1)
    two = Configuration("local", 2, 1, "in turn", 1)
    # It shows in the answers: what the rehearsal refuses, and what no trial lets pass.
    threads = Configuration("local", 1, 1, "passed turn", 8)
    monkeypatch.setattr(tune_space, "configurations_for", lambda manifest, cpus: (one, threads, two))
    shots = [Shot(json.dumps({"x": x}).encode(), "application/json", "") for x in range(3)]
    tuning = tune_module.tune_build(
        build, objective="throughput", clients=4, shots=shots, window_s=0.3, windows=3, dry_run=False
    )
    assert [trial.outcome for trial in tuning.trials] == ["measured", "refused", "measured"]
    assert "wrong answer" in tuning.trials[1].reason
    assert tuning.trials[tuning.winner].configuration == two
    assert configuration_of(check_build(build)) == two
    text = (build / "model_repository" / "iris" / "config.pbtxt").read_text()
    assert text_format.Parse(text, model_config_pb2.ModelConfig()).instance_group[0].count == 2
    assert read_report(build).tuning == tuning
    told = capfd.readouterr().err
    assert "1/3" in told
    assert "2 processes" in told
    shown = subprocess.run(
        [sys.executable, "-m", "cortex_compile", "inspect", str(build)], capture_output=True, text=True, timeout=60
    )
    assert "2 processes, one request after the other" in shown.stdout
    assert "chosen" in shown.stdout
    assert "2 processes, one request after the other" in (build / "report.html").read_text()
    assert [path.name for path in build.parent.iterdir() if path.name.startswith(".")] == []
