"""Images made by `package`, run as their Dockerfile says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..triton.processes import wait_until
from .conftest import ROOT, Image, run
from .serving import ask, is_close, serving
from .stand_in import IMAGE, PYTHON

pytestmark = pytest.mark.timeout(900)

HARDENED: dict[str, Any] = {
    "detach": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "shm_size": 256 * 1024 * 1024,
    "tmpfs": {"/tmp": "exec,mode=1777"},
}


KILL_TRITON = """
import os, pathlib, signal
names = {path.parent.name: path.read_text().strip() for path in pathlib.Path("/proc").glob("[0-9]*/comm")}
(pid,) = [int(pid) for pid, name in names.items() if name == "tritonserver"]
os.kill(pid, signal.SIGKILL)
"""


@pytest.fixture
def start(engine: Any) -> Iterator[Callable[..., Any]]:
    """``start(TAG, …)`` runs a container that is removed in the end."""
    containers: list[Any] = []

    def start_one(tag: str, **options: Any) -> Any:
        containers.append(engine.containers.run(tag, **HARDENED, **options))
        return containers[-1]

    yield start_one
    for container in containers:
        container.remove(force=True, v=True)


def url_of(container: Any) -> str:
    container.reload()
    return f"http://127.0.0.1:{container.ports['8888/tcp'][0]['HostPort']}"


def wait_until_ready(container: Any) -> str:
    url = url_of(container)

    def ready() -> bool:
        container.reload()
        assert container.status == "running", container.logs().decode()
        try:
            return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    assert wait_until(ready, timeout_s=120), container.logs().decode()
    return url


def test_the_image_serves_answers_and_ends_in_order(
    start: Callable[..., Any], encoder_image: Image, builds: dict[str, Path]
) -> None:
    sample = ROOT / "examples" / "sentence-encoder" / "sample-list.json"
    with serving(builds["sentence-encoder"], apis=1) as embedded:
        expected = ask(f"{embedded.url}/", sample)
    container = start(encoder_image.tag, ports={"8888/tcp": ("127.0.0.1", None)})
    url = wait_until_ready(container)
    assert is_close(ask(f"{url}/", sample), expected)
    assert not httpx.get(f"{url}/readyz", timeout=30).json().get("drift")
    healthcheck = container.attrs["Config"]["Healthcheck"]["Test"]
    assert container.exec_run(healthcheck[1:]).exit_code == 0
    assert container.exec_run(["id", "-u"]).output == b"1000\n"
    assert container.exec_run(["touch", "/opt/cortex-compile/x"]).exit_code != 0
    listening = container.exec_run(["cat", "/proc/net/tcp"]).output.decode().splitlines()[1:]
    open_to_all = {int(line.split()[1].split(":")[1], 16) for line in listening if line.split()[1][:8] == "00000000"}
    assert open_to_all == {8888}

    container.stop(timeout=10)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0, container.logs().decode()
    assert container.logs().decode().rstrip().endswith("Stopped.")


def test_a_triton_that_dies_is_started_again_in_its_container(start: Callable[..., Any], echo_image: Image) -> None:
    container = start(echo_image.tag, ports={"8888/tcp": ("127.0.0.1", None)})
    url = wait_until_ready(container)
    assert container.exec_run(["python", "-c", KILL_TRITON]).exit_code == 0
    assert wait_until(lambda: b"Triton: ready again after" in container.logs(), timeout_s=60), container.logs().decode()
    assert "Triton was killed (SIGKILL" in container.logs().decode()
    assert wait_until_ready(container) == url
    sample = ROOT / "examples" / "echo" / "sample.json"
    assert ask(f"{url}/", sample)["payload"] == json.loads(sample.read_text())


def test_package_checks_what_it_wrote(engine: Any, echo_image: Image, builds: dict[str, Path], tmp_path: Path) -> None:
    words = ("--image", IMAGE, "--python", PYTHON, "--wheels", "--check", "--output", tmp_path / "image")
    done = run("package", builds["echo"], *words)
    assert done.returncode == 0, done.stderr
    assert "echo: built, ready, and answered sample" in done.stdout
    assert engine.containers.list(all=True, filters={"ancestor": "echo"}) == []
    engine.images.remove("echo", force=True)


def test_building_on_another_python_is_refused_with_what_to_do(
    engine: Any, stand_in: str, builds: dict[str, Path], tmp_path: Path
) -> None:
    done = run(
        *("package", builds["echo"], "--image", IMAGE, "--python", "3.12", "--check", "--output", tmp_path / "image")
    )
    assert done.returncode == 1
    assert "requirements.lock is for Python 3.12, and the base image has 3.11" in done.stderr
    assert "Traceback" not in done.stderr
