"""load_model and python_client on a real server: compiled models inside, versions that come while it serves."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compile.facade.api_route import route_of
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.python_backend.manifest import read_manifest

from .ask import ask, ask_json
from .facade_process import Facade, start_facade
from .processes import wait_until

PROJECT = Path(__file__).parents[1] / "predictors" / "reloaded"
ROWS = [[0.5, -1.0, 2.0, 0.0], [3.0, 1.0, -2.0, 1.0], [9.0, -9.0, 0.5, 2.0]]
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Served:
    models: Path
    address: str
    facade: Facade
    log: list[str]

    def ask(self, model: str, version: str = "latest") -> Any:
        return ask_json(self.address, "reloaded", {"rows": ROWS}, query_string=f"model={model}&version={version}")

    def is_logged(self, text: str) -> bool:
        return any(text in line for line in self.log)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reloaded")
    command = [sys.executable, "-m", "cortex_compile", str(PROJECT / "predictor.py"), "--output", str(folder / "build")]
    environment = {**os.environ, "CORTEX_COMPILE_CACHE": str(folder / "cache")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder / "build"


@pytest.fixture(scope="module")
def served(installed_server: None, build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A copy of the build: tests add versions to it, each to a model of its own."""
    log: list[str] = []
    place = shutil.copytree(build, tmp_path_factory.mktemp("served") / "build")
    server = EmbeddedServer([place], http_port=0, grpc_port=0, metrics_port=0, log=log.append)
    try:
        endpoints = server.start(timeout_s=90)
        facade = start_facade(endpoints.grpc, [route_of(read_manifest(place / "manifest.json"))])
        try:
            models = place / "model_repository" / "reloaded" / "1" / "project" / "models"
            yield Served(models, endpoints.grpc, facade, log)
        finally:
            facade.stop()
    finally:
        server.stop()


def write_version(served: Served, model: str, version: str, seed: str) -> None:
    """As one should: a whole folder that gets its name at the end."""
    folder = served.models / model / f".{version}"
    folder.mkdir()
    (folder / "seed.txt").write_text(seed)
    folder.rename(served.models / model / version)


@functools.cache
def plain_scores(model: str, version: str) -> Any:
    """Of the plain predictor, in a process that knows nothing of us."""
    program = (
        "import json, predictor; p = predictor.PythonPredictor({}, None);"
        f"p.client = type('Client', (), {{'get_model': lambda *_: p.load_model('models/{model}/{version}')}});"
        f"print(json.dumps(p.predict({{'rows': {ROWS}}}, {{}})['scores']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_compiled_modules_of_models_that_are_loaded_later(served: Served, build: Path) -> None:
    cores = read_manifest(build / "manifest.json").cores
    assert sorted(core.path for core in cores) == [
        f"predictor.client.models['{key}']['net']" for key in ("a/1", "a/2", "b/1")
    ]
    waiting = "modules that are compiled when their model is loaded: predictor.client.models["
    assert wait_until(functools.partial(served.is_logged, waiting), PATIENCE_S)
    before = len(served.log)
    for model, version, folder in (("a", "latest", "2"), ("b", "1", ""), ("a", "1", "1"), ("a", "latest", "2")):
        expected = plain_scores(model, folder)
        for _ in range(3):
            np.testing.assert_allclose(served.ask(model, version)["scores"], expected, rtol=1e-4, atol=1e-5)
    for key in ("a/1", "a/2", "b/1"):
        told = f"module predictor.client.models['{key}']['net'] runs on onnxruntime (local)"
        assert wait_until(functools.partial(served.is_logged, told), PATIENCE_S), key

    def loads() -> int:
        return sum("loading model a of version 2" in line for line in served.log[before:])

    assert wait_until(lambda: loads() >= 2, PATIENCE_S), "it had left memory, since three are one too many"
    assert loads() == 2

    def exchanges() -> int:
        return sum("['a/2']['net'] runs on onnxruntime" in line for line in served.log[before:])

    # After the answer to the request that loaded it, and the log is read later still.
    assert wait_until(lambda: exchanges() >= 2, PATIENCE_S), "and was compiled again when it came back"
    assert exchanges() == 2


def test_get_lists_the_models(served: Served) -> None:
    (served.models / "d").mkdir()
    write_version(served, "d", "1", "1")
    write_version(served, "d", "10", "10")
    answer = served.facade.http.get("/")
    assert answer.status_code == 200
    found = answer.json()
    assert found["message"].startswith("make a prediction by sending a post request")
    modified = {path.parent.name: int(path.stat().st_mtime) for path in (served.models / "a").rglob("seed.txt")}
    assert found["model_metadata"]["a"] == {"versions": ["1", "2"], "timestamps": [modified["1"], modified["2"]]}
    assert found["model_metadata"]["d"]["versions"] == ["1", "10"]


def test_a_new_version_is_taken_up_without_a_failed_request(served: Served) -> None:
    assert served.ask("c")["seed"] == 2
    stop, problems, seeds = threading.Event(), [], []

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                seeds.append(served.ask("c")["seed"])
            except BaseException as error:
                problems.append(error)

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        write_version(served, "c", "3", "3")
        assert wait_until(lambda: 3 in seeds, PATIENCE_S)
        write_version(served, "c", "4", "not a number")
        assert wait_until(lambda: served.is_logged("loading model c of version 4 failed"), PATIENCE_S)
        count = len(seeds)
        assert wait_until(lambda: len(seeds) >= count + 20, PATIENCE_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert seeds == sorted(seeds), "the newer, once it is there"
    assert set(seeds) == {2, 3}
    told = "model c/3 runs as it is: nothing of it was compiled"
    assert wait_until(functools.partial(served.is_logged, told), PATIENCE_S)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("model=x", "UserRuntimeException: 'x' model wasn't found in the list of available models"),
        ("model=../secrets", "UserRuntimeException: '../secrets' model wasn't found in the list of available models"),
        ("model=a&version=9", "UserRuntimeException: model a of version 9 wasn't found"),
        ("", "UserRuntimeException: model_name was not specified"),
    ],
)
def test_what_is_not_there_is_cortex_500(served: Served, query: str, told: str) -> None:
    answer = ask(served.address, "reloaded", json.dumps({"rows": ROWS}).encode(), {"query_string": query})
    assert answer == (500, b"internal server error")
    assert wait_until(lambda: served.is_logged(told), PATIENCE_S)
