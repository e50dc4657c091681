"""`serve` with keys and HTTPS, and a predictor whose errors tell too much: what clients and the log get to know."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from cortex_compile.cli.api_key import api_key

from ..contract.live import Live, serve
from ..unit.test_tls import pairs  # noqa: F401  # a fixture
from .predictor_build import predictor_build
from .processes import wait_until

SECRET = "4111111111111111"
_INTERNAL = re.compile(rb"Traceback|\.py\b|/etc/|/tmp/|model_repository|_runtime|shm|triton|" + SECRET.encode(), re.I)


@dataclass(frozen=True)
class Guarded:
    live: Live
    keys: Path
    key: str

    def ask(self, payload: Any, **headers: str) -> Any:
        return self.live.http.post("/", json=payload, headers=headers)


@pytest.fixture(scope="module")
def guarded(
    installed_server: None,
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[Path, Path]],  # noqa: F811
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    build = predictor_build(folder / "build", "indiscreet")
    keys = folder / "keys"
    key = CliRunner().invoke(api_key, [str(keys), "tests"], catch_exceptions=False).output.strip()
    (certificate, certificate_key), _ = pairs
    trusted = ssl.create_default_context(cafile=str(certificate))
    options = ("--api-keys", str(keys), "--tls-cert", str(certificate), "--tls-key", str(certificate_key))
    with serve([build], folder, *options, "--max-client-requests", "50", trusted=trusted) as live:
        yield Guarded(live, keys, key)


def test_only_who_has_a_key_is_answered(guarded: Guarded) -> None:
    http = guarded.live.http
    assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200
    for path in ("/", "/indiscreet", "/metrics", "/docs", "/openapi.json", "/nothing"):
        refused = http.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert http.get(path, headers={"x-api-key": guarded.key}).status_code != 401
    assert guarded.ask({"do": "x"}, authorization="Bearer guess").status_code == 401
    answer = guarded.ask({"do": "x"}, authorization=f"Bearer {guarded.key}", **{"x-mine": "kept"})
    assert answer.status_code == 200
    assert ["x-mine", "kept"] in answer.json()
    assert guarded.key not in answer.text


def test_plain_http_is_not_answered(guarded: Guarded) -> None:
    with socket.create_connection(("127.0.0.1", guarded.live.port), timeout=30) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in client.recv(1000)


@pytest.mark.parametrize(
    ("do", "status"),
    [
        ("raise", 500),
        ("raise without end", 500),
        ("return what is no answer", 500),
        ("more than there is memory", 500),
        ("end", 503),
    ],
)
def test_an_error_tells_a_client_nothing(guarded: Guarded, do: str, status: int) -> None:
    asked = {"do": do, "text": SECRET}
    answer = guarded.ask(asked, **{"x-api-key": guarded.key, "x-request-id": f"of-{SECRET}"[:3]})
    assert answer.status_code == status
    assert not _INTERNAL.search(answer.content), answer.content
    assert not any(_INTERNAL.search(value) for name, value in answer.headers.raw if name.lower() != b"x-request-id")
    again = wait_until(lambda: guarded.ask({"do": "x"}, **{"x-api-key": guarded.key}).status_code == 200, timeout_s=60)
    assert again, guarded.live.log.read_text()


def test_the_log_holds_neither_keys_nor_payloads(guarded: Guarded) -> None:
    payload = json.dumps({"do": "x", "text": SECRET})
    for body in (payload.encode(), payload.encode()[:-1], b"\xff" + SECRET.encode()):
        guarded.live.http.post("/?q=" + SECRET, content=body, headers={"x-api-key": guarded.key, "x-a": SECRET})
    guarded.ask({"do": SECRET * 2}, **{"x-api-key": SECRET})
    log = guarded.live.log.read_text()
    assert guarded.key not in log
    # What the predictor itself writes into an exception is the author's business: its line is in the log.
    lines = [line for line in log.splitlines() if SECRET in line and "cannot read /etc/shadow" not in line]
    assert lines == []


def test_a_key_that_was_removed_is_refused_soon(guarded: Guarded) -> None:
    header = {"x-api-key": CliRunner().invoke(api_key, [str(guarded.keys), "other"]).output.strip()}
    assert wait_until(lambda: guarded.ask({"do": "x"}, **header).status_code == 200, timeout_s=20)
    guarded.keys.write_text(guarded.keys.read_text().splitlines()[0] + "\n")
    assert wait_until(lambda: guarded.ask({"do": "x"}, **header).status_code == 401, timeout_s=20)
    assert guarded.ask({"do": "x"}, **{"x-api-key": guarded.key}).status_code == 200


def test_a_worker_that_starts_while_the_keys_are_broken_has_those_before(guarded: Guarded) -> None:
    whole = guarded.keys.read_text()
    guarded.keys.write_text("broken")
    try:
        worker = _worker_of(guarded)
        os.kill(worker, signal.SIGKILL)

        def status(key: str) -> int:
            try:
                return int(guarded.ask({"do": "x"}, **{"x-api-key": key}).status_code)
            except httpx.TransportError:
                return 0

        assert wait_until(lambda: status(guarded.key) == 200, timeout_s=60), guarded.live.log.read_text()
        assert status("guess") == 401
        assert _worker_of(guarded) != worker
    finally:
        guarded.keys.write_text(whole)


def _worker_of(guarded: Guarded) -> int:
    """The facade's process: of the one that was told of these keys."""
    commands: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            commands[int(entry)] = Path("/proc", entry, "cmdline").read_bytes()
            parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
    (worker,) = (
        pid
        for pid, command in commands.items()
        if b"cortex_compile.facade.worker" in command and str(guarded.keys).encode() in commands.get(parents[pid], b"")
    )
    return worker
