from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.ports import Ports, check_port, choose_ports, is_listening


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_zero_is_replaced_by_a_free_port_of_its_own() -> None:
    chosen = choose_ports(Ports(0, 0, 0))
    assert len({chosen.http, chosen.grpc, chosen.metrics}) == 3
    for port in (chosen.http, chosen.grpc, chosen.metrics):
        check_port(port, "--flag")


def test_a_port_that_is_asked_for_is_taken() -> None:
    free = choose_ports(Ports(0, 0, 0))
    assert choose_ports(free) == free


def test_a_taken_port_is_named_with_its_flag(taken_port: int) -> None:
    with pytest.raises(LaunchError, match=rf"Port {taken_port} .*address already in use.*--triton-grpc-port"):
        choose_ports(Ports(0, taken_port, 0))


def test_a_port_taken_on_all_addresses_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        with pytest.raises(LaunchError, match="address already in use"):
            check_port(other.getsockname()[1], "--flag")


def test_one_port_for_two_services_is_refused() -> None:
    port = choose_ports(Ports(0, 0, 0)).http
    with pytest.raises(LaunchError, match=rf"Port {port} is asked for twice: --triton-http-port and --triton-metrics"):
        choose_ports(Ports(port, 0, port))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(LaunchError, match=rf"Port {port} .*--triton-http-port"):
        choose_ports(Ports(port, 0, 0))


def test_a_port_is_listening_while_something_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_listening(port)
    assert not is_listening(port)
