"""What a row of the table is: a behaviour of Cortex's, what we do, and the requests and answers that prove it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .live import Live

__all__ = ["Answer", "Ask", "Proof", "Refused", "Row"]

Kind = Literal["same", "better", "different"]


@dataclass(frozen=True)
class Answer:
    """What must come back; what is None is not looked at. ``headers`` are texts, or None for one that must be absent.

    ``matches`` is a regular expression for the whole body.
    """

    status: int = 200
    body: bytes | None = None
    json: Any = None
    matches: str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """A request to ``/API`` and its answer. ``raw`` is sent as it stands, by a socket, in place of all the others."""

    api: str
    answer: Answer
    body: bytes = b""
    content_type: str | None = "application/json"
    method: str = "POST"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    path: str | None = None
    raw: bytes | None = None


@dataclass(frozen=True)
class Refused:
    """A predictor that must not load: the text of its file, and what the message ends with, after the file's name."""

    predictor: str
    words: str


Proof = Ask | Refused | Callable[[Live], None]


@dataclass(frozen=True)
class Row:
    """``cortex`` says what 0.31 did, ``here`` what is done now; "" where that is the same."""

    area: str
    behaviour: str
    cortex: str
    here: str
    proofs: tuple[Proof, ...]
    kind: Kind = "same"

    def __post_init__(self) -> None:
        assert self.proofs, f"{self.behaviour}: nothing proves it"
        assert (self.kind == "same") == (not self.here), f"{self.behaviour}: what is other has to be said"
