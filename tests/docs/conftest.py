"""The examples: copied, answered plainly, compiled and served, each once for all tests."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.server_folder import find_installed_server

from .example_requests import ENVIRONMENT, EXAMPLES, REQUESTS, Answer, answer_plainly

COMMAND = Path(sys.executable).with_name("cortex-compile")
COMPILE_TIMEOUT_S, STOP_TIMEOUT_S = 500, 20
# Two cost minutes: `make demo` compiles the first one, and how beams are compiled has its own tests.
COMPILE_OPTIONS = {
    "sentence-encoder": ["--no-compile"],
    "text-analyzer": ["--sample=sample-happy.json?model=sentiment", "--sample=sample-article.json?model=translator"],
}


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of an example as it is in the repository, without what it or anyone built in it."""
    copies = tmp_path_factory.mktemp("examples")

    @functools.cache
    def copy(name: str) -> Path:
        ignored = EXAMPLES / name / ".gitignore"
        built = [line.rstrip("/") for line in ignored.read_text().splitlines()] if ignored.is_file() else []
        ignore = shutil.ignore_patterns("build", "__pycache__", *built)
        return shutil.copytree(EXAMPLES / name, copies / name, ignore=ignore)

    return copy


@pytest.fixture(scope="session")
def plain_answers(example_folder: Callable[[str], Path]) -> Callable[[str], list[Answer]]:
    """An example's own answers to its ``REQUESTS``."""
    return functools.cache(lambda name: answer_plainly(example_folder(name), REQUESTS[name]))


@pytest.fixture(scope="session")
def compiled(
    example_folder: Callable[[str], Path],
    plain_answers: Callable[[str], list[Answer]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], tuple[Path, str]]]:
    """An example's build, and what compiling printed. With a cache of its own: what is tested was exported now."""
    environment = {**ENVIRONMENT, "CORTEX_COMPILE_CACHE": str(tmp_path_factory.mktemp("cache"))}

    def compile_example(name: str) -> tuple[Path, str]:
        plain_answers(name)  # first: some build their model when they are first loaded
        folder = example_folder(name)
        run = subprocess.run(
            [str(COMMAND), "predictor.py", *COMPILE_OPTIONS.get(name, ())],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
        )
        assert run.returncode == 0, run.stderr
        return folder / "build" / name, run.stderr + run.stdout

    with ThreadPoolExecutor(max_workers=2) as pool:
        futures = {name: pool.submit(compile_example, name) for name in REQUESTS}
        yield lambda name: futures[name].result()
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def served_urls(compiled: Callable[[str], tuple[Path, str]]) -> Iterator[dict[str, str]]:
    """Where each example answers, while one ``cortex-compile serve`` runs them all."""
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))
    builds = [str(compiled(name)[0]) for name in REQUESTS]
    ports = [f"--{port}=0" for port in ("port", "triton-http-port", "triton-grpc-port", "triton-metrics-port")]
    process = subprocess.Popen(
        [str(COMMAND), "serve", *builds, *ports], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert process.stdout is not None
        urls: dict[str, str] = {}
        for line in process.stdout:
            if found := re.fullmatch(r"([\w-]+): (http://\S+)\s*", line):
                urls[found[1]] = found[2]
            if urls.keys() == REQUESTS.keys():
                break
        assert urls.keys() == REQUESTS.keys(), f"it ended with exit code {process.wait(STOP_TIMEOUT_S)}"
        yield urls
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
