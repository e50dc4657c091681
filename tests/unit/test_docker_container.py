"""What Docker is told of a container, and what a refusal becomes."""

from __future__ import annotations

import dataclasses
import gc
import os
import re
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.errors import LaunchError, UsageError
from cortex_compile.launchers import docker_container
from cortex_compile.launchers.docker_container import ContainerPlan, choose_user, container_settings
from cortex_compile.launchers.docker_engine import (
    Gpus,
    check_gpus,
    connect_to_engine,
    explain_refusal,
    find_image,
    parse_gpus,
)
from cortex_compile.launchers.docker_watch import what_ended_it
from cortex_compile.launchers.ports import Ports
from cortex_compile.launchers.served_models import ServedModel

docker = pytest.importorskip("docker", reason="Docker's SDK is not installed")

PLAN = ContainerPlan(
    name="cortex-compile-x",
    image="triton:1",
    version=(2, 70),
    builds=(Path("/home/me/build/api"), Path("/tmp/api")),
    models=(ServedModel("api", Path("/home/me/build/api/model_repository/api"), "python", 1),),
    ports=Ports(18000, 18001, 18002),
    published=True,
    gpus=Gpus(),
    user=(1001, 1002),
    shm_bytes=123456789,
    memory=None,
    token="secret",
    exit_timeout_s=7,
)


def test_a_container_may_do_nothing_that_it_need_not() -> None:
    settings = container_settings(PLAN)
    assert settings["user"] == "1001:1002"
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert settings["read_only"] is True
    assert settings["shm_size"] == 123456789
    assert settings["ipc_mode"] == "private"
    assert {mount["mode"] for mount in settings["volumes"].values()} == {"ro"}
    assert "restart_policy" not in settings
    assert "mem_limit" not in settings
    assert "device_requests" not in settings


def test_builds_of_one_folder_name_have_places_of_their_own() -> None:
    settings = container_settings(PLAN)
    places = [mount["bind"] for mount in settings["volumes"].values()]
    assert places == ["/builds/0/api", "/builds/1/api"]
    for place in places:
        assert f"--model-repository={place}/model_repository" in settings["command"]


def test_ports_are_published_on_the_loopback_address_alone() -> None:
    settings = container_settings(PLAN)
    assert settings["ports"] == {
        "8000/tcp": ("127.0.0.1", 18000),
        "8001/tcp": ("127.0.0.1", 18001),
        "8002/tcp": ("127.0.0.1", 18002),
    }
    assert {"--http-address=0.0.0.0", "--http-port=8000"} <= set(settings["command"])
    assert "network_mode" not in settings


def test_on_the_machines_own_network_triton_listens_on_the_loopback_address() -> None:
    settings = container_settings(dataclasses.replace(PLAN, published=False))
    assert settings["network_mode"] == "host"
    assert "ports" not in settings
    listening = {f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")}
    assert {*listening, "--http-port=18000", "--grpc-port=18001", "--metrics-port=18002"} <= set(settings["command"])


def test_memory_and_gpus() -> None:
    settings = container_settings(dataclasses.replace(PLAN, memory="2g", gpus=parse_gpus("0,2")))
    assert settings["mem_limit"] == settings["memswap_limit"] == "2g"
    (request,) = settings["device_requests"]
    assert (request["DeviceIDs"], request["Capabilities"]) == (["0", "2"], [["gpu"]])
    assert "--model-config-name=gpu" in settings["command"]
    (request,) = container_settings(dataclasses.replace(PLAN, gpus=parse_gpus("all")))["device_requests"]
    assert request["Count"] == -1
    assert "--model-config-name=cpu" in container_settings(PLAN)["command"]


@pytest.mark.parametrize("text", ["", "0,", "gpu", "0,0", "-1"])
def test_gpus_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"--gpus .*as in 0 or 0,1"):
        parse_gpus(text)


def test_root_runs_triton_as_the_images_user_who_must_be_able_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model_repository" / "weights"
    weights.parent.mkdir()
    monkeypatch.setattr(docker_container.os, "geteuid", lambda: 1234)
    monkeypatch.setattr(docker_container.os, "getegid", lambda: 5678)
    assert choose_user([tmp_path]) == (1234, 5678)

    monkeypatch.setattr(docker_container.os, "geteuid", lambda: 0)
    for folder in (tmp_path, weights.parent):
        folder.chmod(0o755)
    weights.touch(mode=0o644)
    assert choose_user([tmp_path]) == (1000, 1000)
    weights.chmod(0o600)
    with pytest.raises(LaunchError, match=r"weights: may not be read by .* chmod -R a\+rX"):
        choose_user([tmp_path])


def refusal(text: str) -> str:
    return str(explain_refusal(docker.errors.APIError("500 Server Error", explanation=text), "triton:1"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "Container Toolkit.*--gpus none"),
        ("driver failed: Bind for 127.0.0.1:8000 failed: port is already allocated", "--triton-http-port"),
        ("listen tcp4 127.0.0.1:8000: bind: address already in use", "--triton-http-port"),
        ("standard_init_linux.go: exec user process caused: exec format error", "another processor"),
        ('exec: "tritonserver": executable file not found in $PATH', "has no tritonserver"),
        ("invalid mount config for type bind: bind source path does not exist: /b", "does not see the build's folder"),
        ("something new", "refuses to start 'triton:1': something new"),
    ],
)
def test_a_refusal_says_what_to_do(said: str, expected: str) -> None:
    assert re.search(expected, refusal(said)), refusal(said)
    assert "\n" not in refusal(f"{said}\nmore")


def test_what_ended_a_container() -> None:
    assert "ran out of memory (exit status 137)" in what_ended_it({"ExitCode": 137, "OOMKilled": True}, "64m")
    assert "its limit of 64m" in what_ended_it({"ExitCode": 137, "OOMKilled": True}, "64m")
    assert "was killed (exit status 137)" in what_ended_it({"ExitCode": 137}, None)
    assert what_ended_it({"ExitCode": 1, "Error": "no"}, None) == "The container ended (exit status 1, no)"


# Docker's SDK leaves the socket open that could not be connected; collected here, and with it what other tests left.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_engine_and_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(LaunchError, match=r"No Docker engine answers at unix:.*none\.sock\. Start it"):
        connect_to_engine()
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    with pytest.raises(LaunchError, match="an engine on another machine"):
        connect_to_engine()

    def refuse(*_: Any, **__: Any) -> None:
        raise docker.errors.DockerException(PermissionError(13, "Permission denied"))

    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(docker, "from_env", refuse)
    with pytest.raises(LaunchError, match=r"may not use the Docker engine .*usermod -aG docker"):
        connect_to_engine()
    gc.collect()


class Engine:
    """What is asked of an engine before a container is made."""

    def __init__(self, arch: str = "amd64", env: tuple[str, ...] = (), component: str = "Engine") -> None:
        self._attrs = {"Architecture": arch, "Config": {"Env": list(env)}}
        self._component = component
        self.images = self

    def get(self, name: str) -> Any:
        if name == "absent":
            raise docker.errors.ImageNotFound("no such image")
        return type("Image", (), {"attrs": self._attrs})()

    def version(self) -> dict[str, Any]:
        return {"Arch": "amd64", "Components": [{"Name": self._component}]}


def test_images_that_are_of_no_use() -> None:
    assert find_image(Engine(env=("A=b", "TRITON_SERVER_VERSION=2.70.0")), "x").version == (2, 70)
    with pytest.raises(LaunchError, match=r"has no image 'absent'.*docker pull absent"):
        find_image(Engine(), "absent")
    with pytest.raises(LaunchError, match=r"is for arm64, and this Docker engine runs amd64.*--platform linux/amd64"):
        find_image(Engine(arch="arm64"), "x")
    with pytest.raises(LaunchError, match="none of Triton's: TRITON_SERVER_VERSION is not set"):
        find_image(Engine(), "x")


def test_podman_would_start_without_the_gpus() -> None:
    check_gpus(Engine(component="Podman Engine"), Gpus())
    with pytest.raises(LaunchError, match="Podman, which ignores"):
        check_gpus(Engine(component="Podman Engine"), Gpus(all=True))


def test_the_launcher_is_known_by_a_label() -> None:
    assert container_settings(PLAN)["labels"] == {"io.cortex-compile.launcher": str(os.getpid())}
