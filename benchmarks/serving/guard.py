"""``scripts/bench --guard``: did the way of a request through our own code become longer?

What is ours of a request is timed beside a fixed piece of Python, in short turns: the ratio of the two says the same on
a quick machine and a slow one, and much the same on a busy one. It tells what moved since it was last recorded
(``--record``), and never fails: it informs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.app import create_app
from cortex_compile.facade.direct_protocol import direct_protocol
from cortex_compile.facade.settings import FacadeSettings
from cortex_compile.facade.triton_answer import PredictorAnswer, read_contents
from cortex_compile.python_backend.answer import answer
from cortex_compile.python_backend.load_predictor import create_predictor, load_predictor_class
from cortex_compile.python_backend.request import request_from_context
from cortex_compile.python_backend.triton_call import join_answers, split_call

from .workloads import FOLDER

FILE = Path(__file__).parents[1] / "results" / "guard.json"
_TURNS, _CALLS = 60, 50
# What the ratio moves by itself, on a machine that others use.
_NOISE = 0.08

_BODY = json.dumps({"text": "the quick brown fox jumps over the lazy dog " * 3}).encode()
_HEADERS = [(b"host", b"127.0.0.1:8888"), (b"accept", b"*/*"), (b"content-type", b"application/json")]
_STATUS = json.dumps(
    {
        "status_code": 200,
        "headers": [["content-type", "application/json"]],
        "timing": {"queue_ms": 0.05, "prepost_ms": 0.06, "core_ms": 0.0},
    }
).encode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench --guard", description=__doc__)
    parser.add_argument("--record", action="store_true", help="keep these figures, to compare later ones with")
    asked = parser.parse_args()
    found = measure()
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for line in compare(known, found):
        print(line)
    if asked.record:
        FILE.write_text(json.dumps(found, indent=1) + "\n")


def measure() -> dict[str, float]:
    """What is ours of a request, by who does it, in units of the fixed piece of Python."""
    return {"facade": asyncio.run(_facade()), "predictor's process": asyncio.run(_predictor())}


def compare(known: dict[str, float], found: dict[str, float]) -> list[str]:
    """A line for each figure: units of the fixed piece of Python, and what moved."""
    lines = []
    for name, value in found.items():
        before = known.get(name)
        if before is None:
            told = "not recorded before"
        elif abs(value / before - 1) <= _NOISE:
            told = f"as recorded ({before:.2f})"
        else:
            told = f"{'MORE' if value > before else 'less'} than recorded: {value / before:.2f}× ({before:.2f})"
        lines.append(f"guard: {name}: {value:.2f} units a request, {told}")
    return lines


async def ratio_to_fixed(work: Callable[[], Awaitable[None]]) -> float:
    """How many of the fixed piece one call of ``work`` is worth: the median over turns that stand side by side."""
    ratios = []
    for _ in range(_TURNS):
        began = time.process_time()
        for _ in range(_CALLS):
            _fixed()
        between = time.process_time()
        for _ in range(_CALLS):
            await work()
        ratios.append((time.process_time() - between) / (between - began))
    return round(statistics.median(ratios), 3)


def _fixed() -> None:
    """About as much as fifty microseconds of Python: calls, small objects, JSON."""
    for number in range(6):
        value = json.loads(json.dumps({"number": number, "texts": ["a", "b", "c"], "nested": {"x": [1.5, 2.5]}}))
        sorted((str(item), index) for index, item in enumerate(value.items()))


class _Transport(asyncio.Transport):
    """Stands in for the connection to a client that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


class _AnswersAtOnce:
    """Stands in for Triton."""

    async def predict_many(self, model: str, payloads: Sequence[bytes], *_: Any) -> list[PredictorAnswer]:
        await asyncio.sleep(0)
        return read_contents(model, lambda: {"response": b'{"length":120}', "status": _STATUS}, len(payloads))

    predict_quickly = predict_many


async def _facade() -> float:
    """From the bytes of a request to those of its answer."""
    triton: Any = _AnswersAtOnce()
    app = create_app([ApiRoute("guard", "/guard", 1024, shared_calls=1)], triton, FacadeSettings())
    http = direct_protocol(FacadeSettings(), app.state.direct.get)
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None)
    config.load()
    protocol: Any = http(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg]
    transport = _Transport()
    protocol.connection_made(transport)
    lines = [b"POST / HTTP/1.1", *(b"%b: %b" % header for header in _HEADERS), b"content-length: %d" % len(_BODY)]
    request = b"\r\n".join([*lines, b"", _BODY])

    async def ask() -> None:
        protocol.data_received(request)
        while not transport.written:
            await asyncio.sleep(0)
        assert transport.written.pop().startswith(b"HTTP/1.1 200 ")

    for _ in range(100):  # until it is known to be quick
        await ask()
    found = await ratio_to_fixed(ask)
    protocol.connection_lost(None)
    return found


async def _predictor() -> float:
    folder = FOLDER / "noop"
    sys.path.insert(0, str(folder))
    loaded = load_predictor_class(folder, "predictor.py")
    predictor = create_predictor(loaded, {})
    headers = [[name.decode(), value.decode()] for name, value in _HEADERS]
    context = json.dumps(
        {"content_type": "application/json", "query_string": "", "headers": headers, "timeout_s": 60.0}
    ).encode()

    async def ask() -> None:
        (prediction,) = split_call(_BODY, context, None)
        assert prediction.context is not None
        found = answer(predictor, loaded, request_from_context(prediction.payload, prediction.context))
        joined = join_answers([found])
        assert joined.response.size
        assert joined.status.size

    return await ratio_to_fixed(ask)


if __name__ == "__main__":
    main()
