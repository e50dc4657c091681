"""`bench` as a process against a server that is there for it alone; its table from figures made by hand."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from cortex_compile.cli.bench_table import Row, print_rows
from cortex_compile.cli.load import Load, Outcome, Shot, percentile_ms, run_load
from cortex_compile.compiler.plain_build import write_plain_build
from cortex_compile.compiler.write_build import write_build
from cortex_compile.errors import LaunchError, ServiceError
from cortex_compile.launchers.server_folder import find_installed_server
from cortex_compile.python_backend.manifest import check_build

from ..triton.told_predictor import told_build
from ..unit.test_write_build import make_core, make_project, settings_of

COMMAND = [sys.executable, "-m", "cortex_compile", "bench"]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments), "--seconds", "0.3", "--rounds", "2"]
    return subprocess.run(words, capture_output=True, text=True, timeout=100)


class Served(NamedTuple):
    url: str
    asked: list[tuple[str, bytes]]
    most_at_once: list[int]


@pytest.fixture
def server() -> Iterator[Served]:
    """A URL that answers 200, or 503 to `?status`, after a while with `?sleep`; and what it was asked."""
    asked: list[tuple[str, bytes]] = []
    at_once: list[str] = []
    most_at_once = [0]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, body))
            at_once.append(self.path)
            most_at_once[0] = max(most_at_once[0], len(at_once))
            if "sleep" in self.path:
                time.sleep(0.2)
            self.send_response(503 if "status" in self.path else 200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            at_once.pop()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield Served(f"http://127.0.0.1:{running.server_address[1]}/", asked, most_at_once)
        running.shutdown()


def test_clients_ask_in_turn_and_failures_are_counted_apart(server: Served) -> None:
    url, asked, _ = server
    shots = [Shot(b"one", "text/plain", ""), Shot(b"two", "text/plain", "status=503")]
    outcome = run_load(url, shots, Load(clients=1), 0.3, 5.0)
    assert [body for _, body in asked[:4]] == [b"one", b"two", b"one", b"two"]
    assert asked[1][0] == "/?status=503"
    assert set(outcome.failed) == {"503"}
    assert len(outcome.latencies_ms) + outcome.failed["503"] == len(asked)
    assert len(outcome.latencies_ms) == pytest.approx(outcome.failed["503"], abs=1)


def test_at_a_rate_requests_do_not_wait_for_answers(server: Served) -> None:
    url, asked, most_at_once = server
    outcome = run_load(url, [Shot(b"x", "text/plain", "sleep=")], Load(rate=100), 0.5, 5.0)
    assert len(asked) == len(outcome.latencies_ms) > 20
    assert most_at_once[0] > 5
    assert percentile_ms(outcome, 0.0) >= 199


def test_a_request_without_an_answer_in_time_is_a_failure(server: Served) -> None:
    outcome = run_load(server[0], [Shot(b"x", "text/plain", "sleep=")], Load(clients=2), 0.05, 0.05)
    assert outcome.latencies_ms == []
    assert outcome.failed == {"no answer in time": 2}


def test_a_request_that_finds_no_place_for_a_connection_is_a_failure(server: Served) -> None:
    shot = "[Shot(b'x', 'text/plain', 'sleep=')]"
    code = f"""if True:
    import resource
    from cortex_compile.cli.load import Load, Shot, run_load
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    outcome = run_load({server.url!r}, {shot}, Load(rate=1000), 0.3, 5.0)
    assert outcome.latencies_ms
    print(*outcome.failed)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "no connection could be opened: Too many open files", done.stderr


def test_nothing_listens() -> None:
    with pytest.raises(ServiceError, match="cannot be reached"):
        run_load("http://127.0.0.1:9/", [Shot(b"x", "text/plain", "")], Load(), 0.1, 1.0)


def test_a_url(server: Served, tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text("[1]")
    ended = bench(server[0], "--sample", tmp_path / "sample.json", "--clients", "2", "--rate", "20", "--json")
    assert ended.returncode == 0, ended.stderr
    closed, given = json.loads(ended.stdout)["rows"]
    assert (closed["clients"], closed["rate"], given["clients"], given["rate"]) == (2, None, None, 20)
    assert closed["failed"] == {}
    assert 0 < closed["latency_ms"]["p50"] <= closed["latency_ms"]["p99"] <= closed["latency_ms"]["max"]
    assert len(closed["per_second_of_rounds"]) == 2

    bad = bench(server[0] + "?status=503", "--sample", tmp_path / "sample.json", "--clients", "1")
    assert bad.returncode == 1
    assert "503" in bad.stdout
    assert "no request was answered well" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://127.0.0.1:9/"], "--sample"),
        (["http://127.0.0.1:9/", "--sample", "nowhere.json"], "'nowhere.json' cannot be read"),
        (["http://127.0.0.1:9/", "--sample", __file__, "--baseline"], "needs a build"),
    ],
)
def test_what_cannot_be_measured_is_a_line(arguments: list[str], words: str) -> None:
    ended = bench(*arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.triton
def test_a_build_is_served_and_asked_with_its_samples(tmp_path: Path) -> None:
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))
    build = told_build(tmp_path / "api", "api", ("sample.json?echo=", "[1]"))
    ended = bench(build, "--clients", "2")
    assert ended.returncode == 0, ended.stderr
    assert "2 clients" in ended.stdout
    refused = bench(build, "--baseline")
    assert refused.returncode == 2
    assert "nothing in it is compiled" in refused.stderr


def test_a_plain_build_is_the_same_without_its_cores(tmp_path: Path) -> None:
    cores = [make_core(tmp_path / "near", "local"), make_core(tmp_path / "far", "remote")]
    cores[1] = replace(cores[1], core=replace(cores[1].core, name="far"))
    write_build(make_project(tmp_path / "project"), cores, settings_of, tmp_path / "build", {})
    assert len(check_build(tmp_path / "build").cores) == 2
    write_plain_build(tmp_path / "build", tmp_path / "plain")
    manifest = check_build(tmp_path / "plain")
    assert manifest.cores == ()
    assert sorted(path.name for path in (tmp_path / "plain" / "model_repository").iterdir()) == ["iris"]
    assert not (tmp_path / "plain" / "model_repository" / "iris" / "1" / "cores").exists()
    labels = "model_repository/iris/1/project/data/labels.json"
    (tmp_path / "plain" / labels).write_text("written by the predictor")
    check_build(tmp_path / "build")


def test_the_table_compares_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    load = Load(clients=8)
    rows = [Row(name, load, Outcome()) for name in ("compiled", "plain")]
    for row, speeds in zip(rows, [(30, 60), (10, 30)], strict=True):
        for count in speeds:
            row.add(Outcome([1000 / count] * count, {}, 1.0))
    print_rows(rows)
    text = capsys.readouterr().out
    assert "compiled gives 2.50× the answers a second (2.00 to 3.00× in the rounds)" in " ".join(text.split())
    assert "█" in text
