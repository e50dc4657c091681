"""`serve --runtime docker`: the same answers, a container that is repaired, and nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cortex_compile.launchers.docker_container import LABEL
from cortex_compile.launchers.docker_server import DockerServer
from cortex_compile.launchers.ports import is_ready

from ..triton.processes import wait_until
from .conftest import EXAMPLES, ROOT, Image
from .serving import ask, is_close, serving

REQUESTS = (
    ("sentence-encoder", "sample-list.json", ""),
    ("iris-classifier", "sample-virginica.json", ""),
    ("text-analyzer", "sample-happy.json", "?model=sentiment"),
    ("text-analyzer", "sample-notice.json", "?model=summarizer"),
)

pytestmark = pytest.mark.timeout(900)


def endpoints(url: str) -> dict[str, str]:
    paths = httpx.get(f"{url}/openapi.json", timeout=30).json()["paths"]
    return {name: f"{url}{next(path for path in paths if name in path)}" for name in EXAMPLES}


def answers(url: str) -> list[Any]:
    at = endpoints(url)
    return [ask(at[name], ROOT / "examples" / name / sample, query) for name, sample, query in REQUESTS]


def container_of(engine: Any, pid: int) -> Any:
    (container,) = engine.containers.list(filters={"label": f"{LABEL}={pid}"})
    return container


def test_three_examples_answer_as_on_the_embedded_server(
    engine: Any, builds: dict[str, Path], encoder_image: Image, nothing_left: Callable[[], list[str]]
) -> None:
    folders = [builds[name] for name in EXAMPLES]
    with serving(*folders, apis=3) as embedded:
        expected = answers(embedded.url)
    with serving(*folders, "--runtime", "docker", "--image", encoder_image.tag, apis=3) as contained:
        found = answers(contained.url)
        drift = httpx.get(f"{contained.url}/readyz", timeout=30).json().get("drift")
        settings = container_of(engine, contained.process.pid).attrs
        contained.process.send_signal(signal.SIGTERM)
        assert contained.process.wait(timeout=30) == 0
        said = contained.errors.read_text()
    assert all(map(is_close, found, expected))
    assert not drift, "modules that were compiled ran eager"
    assert nothing_left() == []
    assert "published security holes" in said
    assert "Traceback" not in said

    host = settings["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert settings["Config"]["User"] not in ("", "0", "0:0")
    assert {port["HostIp"] for ports in host["PortBindings"].values() for port in ports} == {"127.0.0.1"}
    assert not any(mount["RW"] for mount in settings["Mounts"])


def test_a_killed_container_is_repaired(
    engine: Any, builds: dict[str, Path], echo_image: Image, nothing_left: Callable[[], list[str]]
) -> None:
    sample = ROOT / "examples" / "echo" / "sample.json"
    with serving(builds["echo"], "--runtime", "docker", "--image", echo_image.tag, apis=1) as contained:
        before = ask(contained.url, sample)
        container = container_of(engine, contained.process.pid)
        container.kill()
        assert wait_until(lambda: "starting it again" in contained.errors.read_text(), timeout_s=30)
        assert wait_until(lambda: httpx.get(f"{contained.url}/readyz", timeout=30).status_code == 200, timeout_s=60)
        assert ask(contained.url, sample)["payload"] == before["payload"]
        assert "was killed (exit status 137)" in contained.errors.read_text()


def test_a_predictors_process_that_ends_is_repaired_with_its_container(
    engine: Any, builds: dict[str, Path], echo_image: Image, nothing_left: Callable[[], list[str]]
) -> None:
    """Triton 2.51 says that it is ready all the same, and never answers for that model again."""
    sample = ROOT / "examples" / "echo" / "sample.json"
    with serving(builds["echo"], "--runtime", "docker", "--image", echo_image.tag, apis=1) as contained:
        before = ask(contained.url, sample)
        processes = container_of(engine, contained.process.pid).top(ps_args="-eo pid,args")["Processes"]
        (stub,) = [int(pid) for pid, command in processes if "triton_python_backend_stub" in command.split()[0]]
        time.sleep(2.5)  # it was looked at
        os.kill(stub, signal.SIGKILL)
        assert wait_until(lambda: "starting it again" in contained.errors.read_text(), timeout_s=30)
        assert wait_until(lambda: httpx.get(f"{contained.url}/readyz", timeout=30).status_code == 200, timeout_s=60)
        assert ask(contained.url, sample)["payload"] == before["payload"]
        assert "The process of 'echo' ended; starting it again." in contained.errors.read_text()


def test_a_killed_launcher_leaves_no_container(
    engine: Any, builds: dict[str, Path], echo_image: Image, nothing_left: Callable[[], list[str]]
) -> None:
    with serving(builds["echo"], "--runtime", "docker", "--image", echo_image.tag, apis=1) as contained:
        assert len(nothing_left()) == 1
        contained.process.kill()
        assert wait_until(lambda: nothing_left() == [], timeout_s=20)


def test_one_that_always_ends_is_given_up(
    engine: Any, builds: dict[str, Path], echo_image: Image, nothing_left: Callable[[], list[str]]
) -> None:
    told: list[str] = []
    image, build = echo_image.tag, builds["echo"]
    server = DockerServer([build], image=image, http_port=0, grpc_port=0, metrics_port=0, tell=told.append)
    with server:
        deadline = time.monotonic() + 60
        while server.poll() is None:
            assert time.monotonic() < deadline, told
            for container in engine.containers.list(filters={"name": server.name}):
                container.kill()
            time.sleep(0.1)
        assert server.poll() == 137
    assert "5 times within 10 minutes; it is not started again" in told[-1]


def test_an_engine_without_a_bridge_gets_the_machines_own_loopback_address(
    engine: Any,
    builds: dict[str, Path],
    echo_image: Image,
    nothing_left: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import docker.models.networks

    monkeypatch.setattr(docker.models.networks.NetworkCollection, "list", lambda self, names: [])
    image, build = echo_image.tag, builds["echo"]
    lines: list[str] = []
    with DockerServer([build], image=image, http_port=0, grpc_port=0, metrics_port=0, log=lines.append) as server:
        (container,) = engine.containers.list(filters={"name": server.name})
        assert container.attrs["HostConfig"]["NetworkMode"] == "host"
        arguments = dict(word.partition("=")[::2] for word in container.attrs["Config"]["Cmd"])
        assert arguments["--http-address"] == arguments["--grpc-address"] == "127.0.0.1"
        assert is_ready(int(arguments["--http-port"]))
    assert any("echo" in line for line in lines)
