"""Requests of which each has an answer of its own, with clients that leave: whether everybody got what is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import aiohttp

__all__ = ["Ownership", "Question", "ask_all"]

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Question:
    """``is_mine`` tells whether a status and a body are the answer to this request and to no other. A client that has
    a ``patience_s`` leaves after it."""

    path: str
    body: bytes
    is_mine: Callable[[int, bytes], bool]
    patience_s: float | None = None


@dataclass
class Ownership:
    """``lost`` are requests that were neither answered nor given up by their client."""

    answered: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def asked(self) -> int:
        return self.answered + self.left + len(self.lost)


async def ask_all(base_url: str, questions: Iterable[Question], clients: int) -> Ownership:
    """Ask all of them, ``clients`` at a time."""
    found, left = Ownership(), iter(questions)
    timeout = aiohttp.ClientTimeout(_PATIENCE_S)
    async with aiohttp.ClientSession(base_url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        await asyncio.gather(*(_ask_some(session, left, found) for _ in range(clients)))
    return found


async def _ask_some(session: aiohttp.ClientSession, questions: Iterator[Question], found: Ownership) -> None:
    headers = {"content-type": "application/json"}
    for question in questions:
        try:
            async with (
                asyncio.timeout(question.patience_s),
                session.post(question.path, data=question.body, headers=headers) as response,
            ):
                status, body = response.status, await response.read()
        except TimeoutError as error:
            if question.patience_s is None:
                found.lost.append(f"{question.body[:80]!r}: {error!r}")
            else:
                found.left += 1
        except aiohttp.ClientError as error:
            found.lost.append(f"{question.body[:80]!r}: {error!r}")
        else:
            found.answered += 1
            if not question.is_mine(status, body):
                found.wrong.append(f"{question.body[:80]!r}: {status} {body[:80]!r}")
