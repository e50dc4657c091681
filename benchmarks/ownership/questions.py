"""What the predictor of benchmarks/chaos is asked: a number each, at times with a delay, an error or no patience."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

from benchmarks.chaos.traffic import judge, payload_of

from .load import Question

__all__ = ["questions"]


def questions(count: int, apis: Sequence[str], seed: int) -> Iterator[Question]:
    chance = random.Random(seed)
    for number in range(1, count + 1):
        yield _question(number, f"/{chance.choice(apis)}", chance)


def _question(number: int, path: str, chance: random.Random) -> Question:
    payload, kind = payload_of(number), chance.random()
    patience_s = None
    if kind < 0.02:
        patience_s = chance.choice((0.0005, 0.002, 0.01))
    elif kind < 0.03:
        payload = {**payload, "do": "pause", "seconds": chance.choice((0.001, 0.01, 0.03))}
    elif kind < 0.05:
        payload = {**payload, "do": "raise_an_error"}
        return Question(path, json.dumps(payload).encode(), lambda status, _: status == 500)
    elif kind < 0.07:
        return Question(path, f"{{{number}".encode(), lambda status, _: status == 400)

    def is_mine(status: int, body: bytes) -> bool:
        return judge(number, status, body, None)[0] == "right"

    return Question(path, json.dumps(payload).encode(), is_mine, patience_s)
