"""`doctor` shows that the server runs by running it; here it is the real one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from cortex_compile.launchers.install_server import server_folder


def test_every_row_of_this_environment_passes_or_warns(installed_server: None) -> None:
    done = run_doctor("--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows["embedded server"]["found"].endswith("started and answered")
    assert rows["engine onnxruntime"]["status"] == "PASS"


def test_a_server_that_does_not_run_fails(installed_server: None, tmp_path: Path) -> None:
    folder = tmp_path / "tritonserver" / server_folder().name
    shutil.copytree(server_folder(), folder, ignore=shutil.ignore_patterns("libtritonserver*"))
    done = run_doctor(cache=tmp_path)
    assert done.returncode == 1
    assert "FAIL  embedded server: The server ended while it was starting" in done.stdout
    assert "libtritonserver" in done.stdout


def run_doctor(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cortex_compile", "doctor", *arguments]
    environment = dict(os.environ) if cache is None else {**os.environ, "CORTEX_COMPILE_CACHE": str(cache)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
