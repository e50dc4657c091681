"""The peers: what is installed of each, how its server is started, and how it wants to be asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .workloads import Workload, encode_payload

SERVERS = Path(__file__).parent / "peers"
# FastAPI whose function runs in its thread pool, a request at a time.
PLAIN = "plain-fastapi"


@dataclass(frozen=True)
class Setting:
    """How a server is set up: processes, threads of the model in each, and the largest batch (1: none)."""

    workers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        batch = f", batches of {self.batch}" if self.batch > 1 else ""
        return f"{self.workers} × {self.threads} thread{'s' * (self.threads > 1)}{batch}"


@dataclass(frozen=True)
class Asking:
    """One request as the server wants it, and what its answer holds."""

    path: str
    body: bytes
    content_type: str
    read: Callable[[bytes], Any]


@dataclass(frozen=True)
class Peer:
    """``command`` gets the folder of the environment's programs, the port, and a folder of this run's own."""

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Path, int, Path], list[str]]
    ways: dict[str, str]
    """In which kind it takes a payload of each kind; a kind that is missing is one that it does not take."""
    dress: Callable[[Any, Setting], Any] = lambda value, setting: value
    undress: Callable[[Any, Setting], Any] = lambda value, setting: value
    path: str = "/predict"
    waits: bool = True
    """Whether it runs coroutines."""
    starts_slowly: bool = False
    """So that it is asked for what all are asked, and for more only when it is named."""
    batches: bool = True
    """Whether it can gather requests for its model."""
    only: tuple[str, ...] = ()
    """The workloads that it is asked for, where those are not all that it takes."""
    environment: str = ""
    """Whose it shares, if it has none of its own."""

    def takes(self, workload: Workload) -> bool:
        return workload.kind in self.ways and (self.waits or not workload.waits)

    def asking(self, workload: Workload, setting: Setting, payload: Any) -> Asking:
        way = self.ways[workload.kind]
        if way in ("json", "base64"):
            value = {"file": base64.b64encode(payload).decode()} if isinstance(payload, bytes) else payload
            body, content_type = json.dumps(self.dress(value, setting)).encode(), "application/json"
        else:
            body, content_type = encode_payload(way, payload)
            if self.name == "bentoml" and setting.batch > 1:
                body = body.replace(b'name="file"', b'name="files"', 1)
        return Asking(self.path, body, content_type, lambda raw: self.undress(json.loads(raw), setting))


def _script(name: str) -> Callable[[Path, int, Path], list[str]]:
    return lambda programs, port, folder: [str(programs / "python"), str(SERVERS / f"{name}_server.py")]


def _mosec(programs: Path, port: int, folder: Path) -> list[str]:
    options = ["--address", "127.0.0.1", "--port", str(port), "--timeout", "120000", "--log-level", "warning"]
    return [str(programs / "python"), str(SERVERS / "mosec_server.py"), *options, "--max-body-size", "20000000"]


def _bentoml(programs: Path, port: int, folder: Path) -> list[str]:
    return [str(programs / "bentoml"), "serve", "bentoml_server:Served", "--host", "127.0.0.1", "--port", str(port)]


def _mlserver(programs: Path, port: int, folder: Path) -> list[str]:
    return [str(programs / "mlserver"), "start", str(folder)]


def write_mlserver_settings(folder: Path, port: int, free_ports: tuple[int, int], setting: Setting) -> None:
    server = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_ports[0],
        "metrics_port": free_ports[1],
        "parallel_workers": setting.workers if setting.workers > 1 else 0,
        "debug": False,
    }
    model: dict[str, Any] = {"name": "served", "implementation": "mlserver_server.Served"}
    if setting.batch > 1:
        model |= {"max_batch_size": setting.batch, "max_batch_time": 0.002}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))


def _v2_request(value: Any, setting: Setting) -> Any:
    text = value.get("text", value.get("file"))
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text], "parameters": {"content_type": "str"}}
    return {"inputs": [tensor]}


def _v2_answer(value: Any, setting: Setting) -> Any:
    return json.loads(value["outputs"][0]["data"][0])


def _bento_request(value: Any, setting: Setting) -> Any:
    return {"payloads": [value]} if setting.batch > 1 else {"payload": value}


def _bento_answer(value: Any, setting: Setting) -> Any:
    return value[0] if setting.batch > 1 else value


_PLAIN = {"json": "json", "base64": "base64"}
_FORMS = {**_PLAIN, "form": "form"}
_ALL = (
    Peer(
        "fastapi",
        ("fastapi", "uvicorn", "httptools", "uvloop", "python-multipart"),
        _script("fastapi"),
        {**_FORMS, "body": "body"},
    ),
    Peer(
        # As most people write it, without the queue that the other one has for batches.
        PLAIN,
        ("fastapi",),
        _script("fastapi"),
        _PLAIN,
        batches=False,
        only=("no-op",),
        environment="fastapi",
    ),
    Peer("litserve", ("litserve",), _script("litserve"), {**_FORMS, "body": "form"}),
    Peer("mosec", ("mosec",), _mosec, {**_PLAIN, "body": "body"}, waits=False),
    Peer("bentoml", ("bentoml",), _bentoml, {**_FORMS, "body": "form"}, dress=_bento_request, undress=_bento_answer),
    Peer(
        "mlserver",
        ("mlserver",),
        _mlserver,
        {**_PLAIN, "body": "base64"},
        dress=_v2_request,
        undress=_v2_answer,
        path="/v2/models/served/infer",
        starts_slowly=True,
    ),
    Peer("ray", ("ray[serve]",), _script("ray"), {**_FORMS, "body": "body"}, starts_slowly=True),
)
PEERS = {peer.name: peer for peer in _ALL}
