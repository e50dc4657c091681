"""Requests that each have an answer of their own, from many clients, and what became of every one."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import aiohttp

__all__ = ["Kind", "Sent", "Traffic", "count_kinds", "judge", "payload_of"]

Kind = Literal["right", "error", "wrong", "cut", "lost"]

_PATIENCE_S = 20.0
# What the net adds to each number of a row.
_ADDED = 6.0


@dataclass(frozen=True)
class Sent:
    """A request: when it was sent and when that was over, and what came: ``cut`` is a connection that broke while it
    waited, ``lost`` is no answer at all. ``status`` is 0 where there is none."""

    api: str
    began: float
    ended: float
    kind: Kind
    status: int
    detail: str = ""


def count_kinds(sent: Iterable[Sent]) -> Counter[Kind]:
    return Counter(each.kind for each in sent)


def payload_of(number: int) -> dict[str, object]:
    chance = random.Random(number)
    return {"id": number, "row": [chance.randrange(0, 1 << 12) / 64 for _ in range(4)]}


def judge(number: int, status: int, body: bytes, retry_after: str | None) -> tuple[Kind, str]:
    """An answer is right, a clear error, or wrong: another's, or an error that says nothing or too much."""
    text = body[:300].decode(errors="replace")
    if status == 200:
        try:
            answer = json.loads(body)
            expected = [value + _ADDED for value in payload_of(number)["row"]]  # type: ignore[attr-defined]
            near = all(abs(got - want) < 1e-3 for got, want in zip(answer["scores"], expected, strict=True))
        except (ValueError, KeyError, TypeError):
            return "wrong", text
        return ("right", "") if answer["id"] == number and near else ("wrong", text)
    clear = 400 <= status < 600 and text and "Traceback" not in text and ".py" not in text and "/dev/" not in text
    if not clear or (status in (429, 503) and retry_after is None):
        return "wrong", f"{status} {text}"
    return "error", f"{status} {text}"


class Traffic:
    """Clients that each ask as soon as they are answered, with a short pause, in a thread of its own."""

    _numbers = itertools.count(1)

    def __init__(self, url: str, apis: Sequence[str], clients: int, pause_s: float = 0.01) -> None:
        """``clients`` are so many for each API."""
        self.sent: list[Sent] = []
        self._url = url
        self._apis = apis
        self._clients = clients
        self._pause_s = pause_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            await asyncio.gather(*(self._client(session, api) for api in self._apis for _ in range(self._clients)))

    async def _client(self, session: aiohttp.ClientSession, api: str) -> None:
        while not self._ending.is_set():
            each = await ask(session, f"{self._url}/{api}", api, next(self._numbers))
            self.sent.append(each)
            # Turned away, a client does not come back at once.
            await asyncio.sleep(self._pause_s if each.kind == "right" else max(0.05, self._pause_s))


async def ask(session: aiohttp.ClientSession, url: str, api: str, number: int) -> Sent:
    began = time.monotonic()
    status = 0
    kind: Kind
    try:
        async with session.post(url, json=payload_of(number)) as response:
            status, body = response.status, await response.read()
            kind, detail = judge(number, status, body, response.headers.get("retry-after"))
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError) as error:
        # Nobody listening is an error of the same family.
        refused = isinstance(error, aiohttp.ClientConnectorError)
        kind, detail = ("lost" if refused else "cut"), f"{type(error).__name__}: {error}"
    except (aiohttp.ClientError, TimeoutError) as error:
        kind, detail = "lost", f"{type(error).__name__}: {error}"
    return Sent(api, began, time.monotonic(), kind, status, detail)
