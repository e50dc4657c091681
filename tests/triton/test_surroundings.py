"""What a predictor finds around itself when it is served: files, environment, log, threads, processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.launchers.embedded import EmbeddedServer

from .ask import ask, ask_json
from .processes import wait_until

PROJECT = Path(__file__).parents[1] / "predictors" / "surroundings"
PATIENCE_S = 20.0

APIS = """
- name: plain
  predictor:
    type: python
    path: predictor.py
    python_path: lib
    env: {FROM_ENV: from cortex.yaml, WORDS: /mnt/project/words.txt}
    config: {nested: [{path: /mnt/project/words.txt}]}
- name: threads
  predictor:
    type: python
    path: predictor.py
    python_path: lib
    threads_per_process: 2
    log_level: debug
    env: {FROM_ENV: from cortex.yaml}
  compile: {nan: "null"}
- name: processes
  predictor:
    type: python
    path: predictor.py
    python_path: lib
    processes_per_replica: 2
    log_level: warning
"""


@dataclass(frozen=True)
class Served:
    address: str
    builds: Path
    log: list[str]

    def ask(self, model: str, **payload: Any) -> Any:
        return ask_json(self.address, model, payload)

    def ask_twice(self, model: str, **payload: Any) -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda _: self.ask(model, **payload), range(2)))

    def is_logged(self, text: str) -> bool:
        return any(text in line for line in self.log)


@pytest.fixture(scope="module")
def served(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("surroundings")
    project = shutil.copytree(PROJECT, folder / "project")
    (project / "cortex.yaml").write_text(APIS)
    (project / ".env").write_text("FROM_ENV='from .env'\n")
    builds = [folder / "builds" / name for name in ("plain", "threads", "processes")]
    for build in builds:
        command = [sys.executable, "-m", "cortex_compile", str(project / "predictor.py"), "--name", build.name]
        ended = subprocess.run([*command, "--no-compile", "--output", str(build)], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    shutil.rmtree(project)
    log: list[str] = []
    server = EmbeddedServer(builds, http_port=0, grpc_port=0, metrics_port=0, log=log.append)
    try:
        yield Served(server.start(timeout_s=90).grpc, folder / "builds", log)
    finally:
        server.stop()


def test_files_are_found_by_relative_path_and_by_cortex_path(served: Served) -> None:
    found = served.ask("plain", do="read")
    texts = {key: value for key, value in found.items() if key not in ("listdir", "exists", "stat", "others")}
    assert texts == dict.fromkeys(texts, "hello")
    assert (found["listdir"], found["exists"]) == (["a.bin"], True)
    assert wait_until(lambda: served.is_logged("plain_0_0: /mnt/project stands for "), PATIENCE_S)


def test_environment_import_path_and_folder(served: Served) -> None:
    found = served.ask("plain", do="describe")
    assert found["env"] == "from .env", ".env wins, as in Cortex's image"
    assert found["python_path"] == "found"
    assert found["folder"] == str(served.builds / "plain" / "model_repository" / "plain" / "1" / "project")


def test_the_folder_can_be_written_to(served: Served) -> None:
    payload = {"do": "write", "value": [1, 2]}
    assert served.ask("plain", **payload) == payload


def test_what_is_printed_and_logged_comes_at_once_and_by_level(served: Served) -> None:
    for model in ("plain", "threads", "processes"):
        served.ask(model, do="tell", word=model)
    for text in ("printed plain", "info plain", "warning plain", "debug threads", "info threads", "warning processes"):
        assert wait_until(lambda text=text: served.is_logged(text), PATIENCE_S), text  # type: ignore[misc]
    for text in ("debug plain", "debug processes", "info processes"):
        assert not served.is_logged(text)


def test_threads_per_process_are_predictions_at_once(served: Served) -> None:
    first, second = served.ask_twice("threads", do="meet_in_process")
    assert first == second


def test_processes_per_replica_answer_at_once(served: Served, tmp_path: Path) -> None:
    for attempt in range(40):  # whoever took the last one
        pids = served.ask_twice("processes", do="meet_in_another_process", place=str(tmp_path / str(attempt)))
        assert len(set(pids)) == 2


def test_not_a_number_is_an_error_or_null(served: Served) -> None:
    assert ask(served.address, "plain", b'{"do": "numbers"}') == (500, b"internal server error")
    assert wait_until(lambda: served.is_logged("ValueError: nan at $.scores[1] is not JSON"), PATIENCE_S)
    assert served.ask("threads", do="numbers") == {"scores": [1.0, None], "limit": None}
