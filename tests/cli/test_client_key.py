"""`predict` and `bench` ask a server that wants a key with the one of a file or of the environment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from cortex_compile.cli.bench import bench
from cortex_compile.cli.client_key import VARIABLE
from cortex_compile.cli.predict import predict
from cortex_compile.errors import UsageError

KEY = "aKeyThatNobodyKnows-_1"


class Server:
    """Answers, and remembers who it was asked by."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        seen = self.keys

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(self.headers["authorization"])
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def sample(tmp_path: Path) -> str:
    file = tmp_path / "sample.json"
    file.write_text("{}")
    return str(file)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    return str(file)


def test_without_a_key_none_is_sent(server: Server, sample: str) -> None:
    CliRunner().invoke(predict, [server.url, sample], catch_exceptions=False)
    assert server.keys == [None]


def test_the_key_of_the_environment(server: Server, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    shown = CliRunner().invoke(predict, [server.url, sample, "--json"], catch_exceptions=False)
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in shown.output


def test_the_key_of_a_file_comes_first(
    server: Server, sample: str, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "another")
    CliRunner().invoke(predict, [server.url, sample, "--api-key-file", key_file], catch_exceptions=False)
    load = ["--seconds", "0.1", "--rounds", "1", "--clients", "1", "--json"]
    words = [server.url, "--sample", sample, *load, "--api-key-file", key_file]
    shown = CliRunner().invoke(bench, words, catch_exceptions=False)
    assert shown.exit_code == 0
    assert KEY not in shown.output
    assert set(server.keys) == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: no such file"),
        ("", "holds no API key"),
        (f"alice {KEY}", "holds no API key"),
        (f"{KEY}\n{KEY}", "holds no API key"),
    ],
)
def test_a_file_that_holds_no_key(server: Server, sample: str, tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "no-key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=problem) as caught:
        CliRunner().invoke(predict, [server.url, sample, "--api-key-file", str(file)], catch_exceptions=False)
    assert KEY not in str(caught.value)
    assert server.keys == []


def test_a_build_needs_no_key(sample: str, key_file: str) -> None:
    for command, words in ((predict, [sample]), (bench, [])):
        with pytest.raises(UsageError, match="--api-key-file is for a URL"):
            CliRunner().invoke(command, ["build/x", *words, "--api-key-file", key_file], catch_exceptions=False)
