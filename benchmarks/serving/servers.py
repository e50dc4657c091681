"""Starting a server, ours or a peer's, on the cores of a track, and waiting for its first right answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.cli.load import Judge, Shot

from .answers import judge, plain_answers
from .builds import build_of
from .environments import programs_of
from .peer_servers import PEERS, SERVERS, Asking, Setting, write_mlserver_settings
from .processes import end, family
from .workloads import ONE_CORE, Workload, encode_payload

OURS = "cortex-compile"
LOGS = Path("build") / "serving"

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 15.0


class DoesNotServe(Exception):
    """It did not start, or its answer is wrong; the message says which, and where its log is."""


@dataclass(frozen=True)
class Running:
    """A server that has given a right answer. ``judge`` compares those that follow."""

    url: str
    pid: int
    shots: list[Shot]
    judge: Judge
    first_answer_s: float


def cores_of(track: str) -> tuple[int, ...]:
    cores = sorted(os.sched_getaffinity(0))
    return tuple(cores[:1] if track == ONE_CORE else cores)


def generator_cores(track: str) -> tuple[int, ...]:
    """Where the load comes from: a core that the server has not, where it has one only."""
    cores = sorted(os.sched_getaffinity(0))
    return tuple(cores[-1:] if track == ONE_CORE else cores)


@contextlib.contextmanager
def running(
    server: str, workload: Workload, setting: Setting, track: str, on: tuple[int, ...] | None = None
) -> Iterator[Running]:
    """
    Meanwhile this process, which the load comes from, keeps to the cores that are left.

    Args:
        on: the cores that it runs on, if not those of the track that it is made for.

    Raises:
        DoesNotServe: there was no right answer within three minutes.
    """
    everywhere = os.sched_getaffinity(0)
    plain, cores, port = plain_answers(workload.name), cores_of(track), free_port()
    askings = [_asking(server, workload, setting, payload) for payload in workload.payloads()]
    compare = judge(workload, askings[0].read, plain.answers)
    url = f"http://127.0.0.1:{port}{askings[0].path}"
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{server}-{workload.name}-{track}.log"
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder, log.open("wb") as said:
        command, environment = _command(server, workload, setting, cores, port, Path(folder))
        signal.signal(signal.SIGTERM, _leave)  # as Ctrl-C does, and not without its server, which would stay
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=SERVERS,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, on or cores),
        )
        try:
            _wait_for_right_answer(process, url, askings[0], compare, log)
            took_s = time.perf_counter() - started
            shots = [Shot(asking.body, asking.content_type, "") for asking in askings]
            os.sched_setaffinity(0, generator_cores(track))
            yield Running(url, process.pid, shots, compare, took_s)
        finally:
            os.sched_setaffinity(0, everywhere)
            end(family(process.pid), _STOP_TIMEOUT_S)
            process.wait()


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _asking(server: str, workload: Workload, setting: Setting, payload: object) -> Asking:
    if server != OURS:
        return PEERS[server].asking(workload, setting, payload)
    body, content_type = encode_payload(workload.kind, payload)
    return Asking("/", body, content_type, json.loads)


def _command(
    server: str, workload: Workload, setting: Setting, cores: tuple[int, ...], port: int, folder: Path
) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    # What the shell that runs this says of threads is not for the servers.
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS"):
        environment.pop(name, None)
    if server == OURS:
        free = [f"--triton-{name}-port=0" for name in ("http", "grpc", "metrics")]
        build = build_of(workload, setting, cores)
        return [sys.executable, "-m", "cortex_compile", "serve", str(build), "--port", str(port), *free], environment
    peer = PEERS[server]
    programs = programs_of(peer)
    told = {
        "BENCH_KIND": peer.ways[workload.kind],
        "BENCH_WAITS": str(int(workload.waits)),
        "BENCH_BATCH": str(setting.batch),
        "BENCH_WORKERS": str(setting.workers),
        "BENCH_THREADS": str(setting.threads),
        "BENCH_CORES": str(len(cores)),
        "BENCH_PORT": str(port),
        "BENCH_FOLDER": str(workload.path),
        "BENCH_TEMP": str(folder),
        "OMP_NUM_THREADS": str(setting.threads),
        "PYTHONPATH": str(SERVERS),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "BENTOML_HOME": str(folder),
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if server == "mlserver":
        write_mlserver_settings(folder, port, (free_port(), free_port()), setting)
    return peer.command(programs, port, folder), environment | told


def _wait_for_right_answer(
    process: subprocess.Popen[bytes], url: str, asking: Asking, compare: Judge, log: Path
) -> None:
    deadline, said = time.monotonic() + _START_TIMEOUT_S, "nothing"
    request = urllib.request.Request(url, asking.body, {"Content-Type": asking.content_type})
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                body = response.read()
            wrong = compare(0, body)
            if wrong is not None:
                raise DoesNotServe(f"{wrong}: {body[:200]!r}; its log is {log}")
            return
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.read()[:200]!r}"
        except OSError as error:
            said = str(error)
        time.sleep(0.02)
    raise DoesNotServe(f"no right answer; the last was {said}; its log is {log}")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
