"""What a start in a container is refused for: each one line with what to do, and nothing left running."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import run
from .serving import FREE_PORTS

pytestmark = pytest.mark.timeout(600)


def refused(build: Path, *words: str) -> str:
    """The last line that `serve` says; what it said before are notes."""
    done = run("serve", build, "--runtime", "docker", *FREE_PORTS, *words)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.fixture
def build(builds: dict[str, Path], nothing_left: Callable[[], list[str]]) -> Path:
    return builds["echo"]


def test_an_image_that_is_not_there(engine: Any, build: Path) -> None:
    said = refused(build)
    assert "has no image 'nvcr.io/nvidia/tritonserver:26.06-py3'" in said
    assert "docker pull nvcr.io/nvidia/tritonserver:26.06-py3" in said


def test_an_image_that_is_none_of_tritons(engine: Any, stand_in: str, build: Path) -> None:
    assert "none of Triton's" in refused(build, "--image", "cortex-compile-test/debian-12-python:latest")


def test_an_image_without_a_server_in_it(engine: Any, stand_in: str, build: Path) -> None:
    made_from(engine, "FROM cortex-compile-test/debian-12-python\nENV TRITON_SERVER_VERSION=2.70.0\n", "no-server")
    assert "has no tritonserver" in refused(build, "--image", "cortex-compile-test/no-server")


def test_an_image_for_another_processor(engine: Any, build: Path) -> None:
    other = "arm64" if engine.version()["Arch"] == "amd64" else "amd64"
    (image,) = engine.images.load(saved_image(other, "cortex-compile-test/other-processor:latest"))
    said = refused(build, "--image", image.tags[0])
    assert f"is for {other}, and this Docker engine runs" in said
    assert f"docker pull --platform linux/{engine.version()['Arch']}" in said


def test_gpus_where_the_engine_has_none(engine: Any, stand_in: str, build: Path) -> None:
    if "nvidia" in engine.info().get("Runtimes", {}):
        pytest.skip("this engine has a GPU runtime")
    assert "NVIDIA's Container Toolkit" in refused(build, "--image", stand_in, "--gpus", "all")


def test_a_port_that_is_taken(engine: Any, stand_in: str, build: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(build, "--image", stand_in, "--triton-http-port", port)
    assert f"Port {port} of 127.0.0.1 cannot be used" in said
    assert "--triton-http-port PORT" in said


def test_a_package_that_the_image_lacks(engine: Any, stand_in: str, builds: dict[str, Path]) -> None:
    said = refused(builds["iris-classifier"], "--image", stand_in)
    assert "'iris-classifier' does not load" in said
    assert "lacks it; `cortex-compile package BUILD` writes one" in said


def test_too_little_memory(engine: Any, stand_in: str, build: Path) -> None:
    said = refused(build, "--image", stand_in, "--memory", "24m")
    assert "ran out of memory (exit status 137): its limit of 24m is too small" in said
    assert "--memory" in said


def made_from(engine: Any, dockerfile: str, name: str) -> None:
    """Build an image from the text of a Dockerfile alone."""
    context = io.BytesIO(archive({"Dockerfile": dockerfile.encode()}))
    engine.images.build(fileobj=context, custom_context=True, tag=f"cortex-compile-test/{name}", rm=True)


def saved_image(architecture: str, tag: str) -> bytes:
    """An empty image that calls itself one of Triton's, as `docker save` writes it."""
    layer = archive({})
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["TRITON_SERVER_VERSION=2.70.0"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    return archive({**files, "layer.tar": layer})


def archive(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return written.getvalue()
