"""Load on a URL, from this process: a closed loop of clients, or requests at a given rate."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from cortex_compile.errors import ServiceError

# Sends a request by its number, due at this time; whether it was answered well.
Send = Callable[[int, float], Coroutine[None, None, bool]]
# What is wrong with the body that a shot, by its number, was answered with; None if nothing is.
Judge = Callable[[int, bytes], str | None]

__all__ = ["Judge", "Load", "Outcome", "Shot", "percentile_ms", "run_load"]

# It is this machine that has no more files or ports, for more requests at once than the server answers.
_NO_PLACE = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL)


@dataclass(frozen=True)
class Shot:
    """A request that is sent again and again."""

    body: bytes
    content_type: str
    query: str


@dataclass(frozen=True)
class Load:
    """``clients`` that each ask again as soon as they are answered; or ``rate`` requests a second, come what may."""

    clients: int = 1
    rate: float | None = None

    def __str__(self) -> str:
        return f"{self.clients} client{'s' * (self.clients != 1)}" if self.rate is None else f"{self.rate:g} a second"


@dataclass
class Outcome:
    """What came of a load. Latencies are of requests that were answered with a status below 400, in ms.

    At a given rate they count from the moment when the request was due, so that a stall is not hidden.
    """

    latencies_ms: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    """How often a request was answered with this status, or not at all for this reason."""
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0

    def add(self, other: Outcome) -> None:
        self.latencies_ms += other.latencies_ms
        self.seconds += other.seconds
        for reason, count in other.failed.items():
            self.failed[reason] = self.failed.get(reason, 0) + count


def percentile_ms(outcome: Outcome, share: float) -> float:
    """Of the latencies; of no latencies, infinity."""
    ordered = sorted(outcome.latencies_ms)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def run_load(
    url: str,
    shots: Sequence[Shot],
    load: Load,
    seconds: float,
    timeout_s: float,
    judge: Judge | None = None,
    headers: Mapping[str, str] | None = None,
) -> Outcome:
    """What ``judge`` finds wrong counts as failed. ``headers`` go with each request, beside its content type.

    Raises:
        ServiceError: nothing listens at the URL.
    """
    import uvloop

    return uvloop.run(_run(url, shots, load, seconds, timeout_s, judge, headers or {}))


async def _run(
    url: str,
    shots: Sequence[Shot],
    load: Load,
    seconds: float,
    timeout_s: float,
    judge: Judge | None,
    headers: Mapping[str, str],
) -> Outcome:
    import aiohttp

    outcome = Outcome()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    # The answers are wanted as they come: unpacking them would be the generator's work, not the server's.
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, auto_decompress=False, headers=headers
    ) as session:

        async def send(number: int, due: float) -> bool:
            shot = shots[number % len(shots)]
            address = f"{url}?{shot.query}" if shot.query else url
            headers = {"content-type": shot.content_type}
            try:
                async with session.post(address, data=shot.body, headers=headers) as response:
                    body = await response.read()
                    reason = str(response.status) if response.status >= 400 else None
                    if reason is None and judge is not None:
                        reason = judge(number % len(shots), body)
            except aiohttp.ClientConnectorError as error:
                problem = error.os_error.errno
                if problem not in _NO_PLACE:
                    raise ServiceError(
                        f"{url} cannot be reached ({error}); is `cortex-compile serve` running?"
                    ) from None
                reason = f"no connection could be opened: {os.strerror(problem)}"
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = "no answer in time" if isinstance(error, TimeoutError) else f"broken off ({error})"
            if reason is None:
                outcome.latencies_ms.append((time.perf_counter() - due) * 1000)
            else:
                outcome.failed[reason] = outcome.failed.get(reason, 0) + 1
            return reason is None

        started = time.perf_counter()
        if load.rate is None:
            await _closed_loop(send, load.clients, started + seconds)
            outcome.seconds = time.perf_counter() - started
        else:
            await _open_loop(send, load.rate, started, seconds)
            outcome.seconds = max(seconds, time.perf_counter() - started)
    return outcome


async def _closed_loop(send: Send, clients: int, end: float) -> None:
    async def client(number: int) -> None:
        while (now := time.perf_counter()) < end:
            if not await send(number, now):
                await asyncio.sleep(0.02)  # turned away, a client does not come back at once
            number += clients

    await asyncio.gather(*(client(number) for number in range(clients)))


async def _open_loop(send: Send, rate: float, started: float, seconds: float) -> None:
    """As independent clients come: at random, with the same seed each time."""
    chance = random.Random(0)
    due = started
    sent: list[asyncio.Task[bool]] = []
    while (due := due + chance.expovariate(rate)) < started + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sent.append(asyncio.create_task(send(len(sent), due)))
    await asyncio.gather(*sent)
