"""The server listens on loopback only, and what could change it needs the launcher's token."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from cortex_compile.launchers.arguments import GRPC_TOKEN_HEADER, TOKEN_HEADER

from .clients import status_of
from .conftest import RunningServer
from .processes import processes_of, regions_of, wait_until
from .tiny_build import echo_build

RESTRICTED = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/echo/load"),
    ("POST", "/v2/repository/models/echo/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/logging"),
]
OPEN = ["/v2/health/ready", "/v2", "/v2/models/echo", "/v2/models/echo/config", "/v2/models/echo/stats"]


def test_what_changes_the_server_needs_the_token(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    run = start_server(echo_build(tmp_path / "echo"))
    http = run.endpoints.http
    for method, path in RESTRICTED:
        assert status_of(http, path, method) == 403, path
        assert status_of(http, path, method, {TOKEN_HEADER: "guess"}) == 403, path
    for path in OPEN:
        assert status_of(http, path) == 200, path
    token = run.server.restricted_headers
    assert status_of(http, "/v2/repository/models/echo/unload", "POST", token) == 200
    assert status_of(http, "/v2/repository/models/echo/load", "POST", token) == 200

    client = tritonclient.grpc.InferenceServerClient(run.endpoints.grpc)
    with pytest.raises(InferenceServerException, match="protocol is restricted"):
        client.get_model_repository_index()
    with pytest.raises(InferenceServerException, match="protocol is restricted"):
        client.get_model_repository_index({GRPC_TOKEN_HEADER: "guess"})
    index = client.get_model_repository_index({GRPC_TOKEN_HEADER: token[TOKEN_HEADER]})
    assert [model.name for model in index.models] == ["echo"]
    client.close()


def test_no_port_answers_on_another_address(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    run = start_server(echo_build(tmp_path / "echo"))
    addresses = other_addresses()
    if not addresses:
        pytest.skip("this machine has no address but loopback")
    for endpoint in (run.endpoints.http, run.endpoints.grpc, run.endpoints.metrics):
        port = int(endpoint.partition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        for address in addresses:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, port), timeout=5)


def test_the_token_is_on_no_command_line_and_in_no_environment(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    """Nor is it in the stubs', which run the predictor's code."""
    run = start_server(echo_build(tmp_path / "echo"))
    assert run.server.server_pid is not None
    token = run.server.restricted_headers[TOKEN_HEADER].encode()
    command_line = Path(f"/proc/{run.server.server_pid}/cmdline")
    assert wait_until(lambda: token not in command_line.read_bytes(), timeout_s=15)
    assert b"model-repository,shared-memory,trace,logging:cortex-compile-token=***" in command_line.read_bytes()
    everyone = [os.getpid(), *processes_of(run.server.server_pid)]
    assert len(everyone) >= 3
    for pid in everyone:
        for file in ("cmdline", "environ"):
            assert token not in Path(f"/proc/{pid}/{file}").read_bytes(), (pid, file)
    # The server has it still.
    assert status_of(run.endpoints.http, "/v2/repository/index", "POST", run.server.restricted_headers) == 200


def test_requests_and_answers_are_not_for_other_users(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    run = start_server(echo_build(tmp_path / "echo"))
    regions = regions_of(os.getpid())
    assert regions
    assert wait_until(lambda: {region.stat().st_mode & 0o777 for region in regions} == {0o600}, timeout_s=15)
    assert status_of(run.endpoints.http, "/v2/models/echo/ready") == 200


@pytest.mark.root
def test_no_port_answers_another_network_namespace(
    start_server: Callable[..., RunningServer], tmp_path: Path, neighbour: Neighbour
) -> None:
    """What a container or another machine would be: why the holes of this server cannot be reached."""
    run = start_server(echo_build(tmp_path / "echo"))
    with socket.create_server((neighbour.our_address, 0)) as control:
        # There is a way here, as the facade's port would show.
        assert neighbour.connects_to(control.getsockname()[1])
    for endpoint in (run.endpoints.http, run.endpoints.grpc, run.endpoints.metrics):
        assert not neighbour.connects_to(int(endpoint.partition(":")[2])), endpoint


@dataclass(frozen=True)
class Neighbour:
    """A network namespace that a cable leads to."""

    name: str
    our_address: str

    def connects_to(self, port: int) -> bool:
        ask = f"import socket; socket.create_connection(({self.our_address!r}, {port}), timeout=10)"
        ended = subprocess.run(
            ["ip", "netns", "exec", self.name, sys.executable, "-S", "-c", ask], capture_output=True, text=True
        )
        if ended.returncode != 0:
            assert "ConnectionRefusedError" in ended.stderr, ended.stderr
        return ended.returncode == 0


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    if os.geteuid() != 0:
        pytest.skip("only root may make a network namespace")
    if shutil.which("ip") is None:
        pytest.skip("needs the command ip to make a network namespace")
    name = f"cortex-{os.getpid()}"
    ours, theirs = f"co{os.getpid()}", f"ct{os.getpid()}"
    # Of the addresses that are set aside for such measurements.
    base = f"198.18.{os.getpid() % 256}."
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    try:
        for words in (
            f"ip link add {ours} type veth peer name {theirs} netns {name}",
            f"ip addr add {base}1/30 dev {ours}",
            f"ip link set {ours} up",
            f"ip -n {name} addr add {base}2/30 dev {theirs}",
            f"ip -n {name} link set {theirs} up",
        ):
            done = subprocess.run(words.split(), capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"`{words}` is not possible here: {done.stderr.strip()}")
        yield Neighbour(name, f"{base}1")
    finally:
        subprocess.run(["ip", "link", "del", ours], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=True)


def other_addresses() -> list[str]:
    """Addresses of this machine that are reached from outside; nothing is sent to find the first."""
    found = []
    for family, outside in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((outside, 9))
            except OSError:
                continue
            found.append(probe.getsockname()[0])
    return [address for address in found if not address.startswith("127.") and address != "::1"]
