"""Tests on a real Docker engine, with a stand-in for NVIDIA's image. scripts/test_docker starts one where none is.

No test may leave a container behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.docker_container import LABEL
from cortex_compile.launchers.docker_engine import connect_to_engine

from .stand_in import IMAGE, PYTHON, build_stand_in, why_not_buildable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = [sys.executable, "-m", "cortex_compile"]
EXAMPLES = ("sentence-encoder", "iris-classifier", "text-analyzer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.docker)


def run(*words: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="session")
def engine() -> Any:
    """Docker's SDK, connected."""
    try:
        return connect_to_engine()
    except LaunchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stand_in(engine: Any) -> str:
    if reason := why_not_buildable():
        pytest.skip(reason)
    return build_stand_in(engine)


class Builds(dict[str, Path]):
    """The examples by name, each compiled when it is first asked for; what was measured before is in the cache."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, name: str) -> Path:
        done = run("compile", ROOT / "examples" / name / "predictor.py", "--output", self._folder / name)
        assert done.returncode == 0, done.stderr
        self[name] = self._folder / name
        return self[name]


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    folder = tmp_path_factory.mktemp("builds")
    folder.parent.chmod(0o755)  # pytest's are for their user alone, and root's container runs as another one
    folder.chmod(0o755)
    return Builds(folder)


@dataclass(frozen=True)
class Image:
    """An image made from what `package` wrote into ``context``."""

    tag: str
    context: Path


@pytest.fixture(scope="session")
def package(engine: Any, stand_in: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Image]:
    """``package(BUILD)`` writes the context, with all wheels, and builds the image without a network."""

    def make(build: Path) -> Image:
        context = tmp_path_factory.mktemp("image") / build.name
        done = run("package", build, "--image", IMAGE, "--python", PYTHON, "--wheels", "--output", context)
        assert done.returncode == 0, done.stderr
        tag = f"cortex-compile-test/{build.name}:latest"
        engine.images.build(path=str(context), tag=tag, rm=True, forcerm=True, network_mode="none")
        return Image(tag, context)

    return make


@pytest.fixture(scope="session")
def echo_image(package: Callable[[Path], Image], builds: dict[str, Path]) -> Image:
    """Of a predictor without a model, which starts in a second."""
    return package(builds["echo"])


@pytest.fixture(scope="session")
def encoder_image(package: Callable[[Path], Image], builds: dict[str, Path]) -> Image:
    """Of the sentence encoder: torch and transformers are in it, so the other examples run on it, too."""
    return package(builds["sentence-encoder"])


@pytest.fixture
def nothing_left(engine: Any) -> Iterator[Callable[[], list[str]]]:
    """Names of the containers that launchers have left; none may be there in the end."""

    def left() -> list[str]:
        return [found.name for found in engine.containers.list(all=True, filters={"label": LABEL})]

    yield left
    names = left()
    for name in names:
        engine.containers.get(name).remove(force=True)
    assert names == []
