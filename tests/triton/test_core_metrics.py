"""Calls that ran compiled and eager, and modules that are no longer what was compiled, told by the facade."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.python_backend.manifest import read_manifest, sha256_of, write_manifest

from .facade_process import Facade, metric, start_facade, wait_for_metric
from .processes import wait_until

DEEP = Path(__file__).parents[1] / "predictors" / "deep"
ROWS = [[0.5, -1.0, 2.0, 0.0], [3.0, 1.0, -2.0, 1.0]]
UNPROVEN = [[0.1 * row, 1.0, -1.0, 2.0] for row in range(100)]
MODULE = "predictor.net"
REASON = "its weights differ from the compiled ones; compile again"


def copy_of(build: Path, folder: Path, name: str, processes: int, seed: int) -> Path:
    """The build under another name, whose config makes other weights where the seed is another than 0."""
    copy = shutil.copytree(build, folder / name)
    repository = copy / "model_repository"
    (repository / build.name).rename(repository / name)
    config = repository / name / "config.pbtxt"
    parsed = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
    parsed.name, parsed.instance_group[0].count = name, processes
    config.write_text(text_format.MessageToString(parsed))
    manifest = read_manifest(copy / "manifest.json")
    files = {file.replace(f"{build.name}/", f"{name}/", 1): sha256 for file, sha256 in manifest.files.items()}
    files[f"{name}/config.pbtxt"] = sha256_of(config)
    manifest = replace(manifest, name=name, endpoint=f"/{name}", config={"seed": seed}, files=files)
    write_manifest(manifest, copy / "manifest.json")
    write_manifest(manifest, repository / name / "1" / "manifest.json")
    return copy


def plain_scores(seed: int) -> list[Any]:
    """Those of the predictor for ROWS and UNPROVEN, in a process that knows nothing of us."""
    program = (
        f"import json, predictor; p = predictor.PythonPredictor({{'seed': {seed}}});"
        f"print(json.dumps([p.predict({{'rows': rows}}, {{}})['scores'] for rows in ({ROWS}, {UNPROVEN})]))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=DEEP, capture_output=True, text=True, check=True)
    scores: list[Any] = json.loads(ended.stdout)
    return scores


def test_fallbacks_and_drift_are_told_in_metrics_readiness_and_log(
    deep_builds: tuple[Path, Path], tmp_path: Path, start_server: Callable[..., Any]
) -> None:
    log: list[str] = []
    builds = [copy_of(deep_builds[0], tmp_path, "sound", 2, 0), copy_of(deep_builds[0], tmp_path, "drifted", 1, 1)]
    run = start_server(*builds, log=log.append)
    endpoints = run.endpoints
    apis = [ApiRoute(name, f"/{name}", 100) for name in ("sound", "drifted")]
    facade = start_facade(endpoints.grpc, apis, metrics_address=endpoints.metrics)
    try:
        _drift_is_told(facade, log)
        _calls_are_counted(facade, log)
        for api, seed in (("sound", 0), ("drifted", 1)):
            found = [facade.http.post(f"/{api}", json={"rows": rows}).json()["scores"] for rows in (ROWS, UNPROVEN)]
            for mine, plain in zip(found, plain_scores(seed), strict=True):
                np.testing.assert_allclose(mine, plain, rtol=1e-4, atol=1e-5)
    finally:
        facade.stop()
    _nothing_is_known(endpoints.grpc, tmp_path / "log")
    run.server.stop()
    assert [line for line in log if "Fatal" in line] == []


def _drift_is_told(facade: Facade, log: list[str]) -> None:
    ready = facade.http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True
    assert ready.json()["drift"] == {"drifted": {MODULE: REASON}}
    assert metric(facade.http, "cortex_compile_drift", api="drifted", module=MODULE, reason=REASON) == 1
    assert wait_until(lambda: any("stays eager" in line for line in log), timeout_s=5)
    (alarm,) = [line for line in log if "stays eager" in line]
    assert alarm.split()[1] == "E"
    assert f"{MODULE} stays eager although it was compiled: {REASON}" in alarm


def _calls_are_counted(facade: Facade, log: list[str]) -> None:
    """Triton adds up what its two processes count."""
    for _ in range(10):
        for rows in (ROWS, UNPROVEN):
            assert facade.http.post("/sound", json={"rows": rows}).status_code == 200
    compiled, eager = "cortex_compile_compiled_calls_total", "cortex_compile_eager_calls_total"
    why = "size outside the proven range"
    wait_for_metric(facade.http, 10, compiled, api="sound", module=MODULE)
    wait_for_metric(facade.http, 10, eager, api="sound", module=MODULE, reason=why)
    assert metric(facade.http, compiled, api="drifted", module=MODULE) == 0
    assert wait_until(lambda: any("this call runs eager" in line for line in log), timeout_s=10)
    told = [line.partition("this call runs ")[2] for line in log if "this call runs eager" in line]
    assert len(told) <= 2  # once a process
    assert told[0].startswith("eager: x is float32[100, 4]: size 100 of dimension 0, proven were ")


def _nothing_is_known(grpc_address: str, log: Path) -> None:
    """Where Triton's metrics cannot be read."""
    facade = start_facade(grpc_address, [ApiRoute("drifted", "/", 100)], log, metrics_address="127.0.0.1:9")
    try:
        models = {"drifted": True}
        assert facade.http.get("/readyz").json() == {"ready": True, "triton": True, "models": models, "drift": None}
        assert "cortex_compile_drift" not in facade.http.get("/metrics").text
        assert log.read_text().count("metrics at 127.0.0.1:9 cannot be read") == 1
    finally:
        facade.stop()
