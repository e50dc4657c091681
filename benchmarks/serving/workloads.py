"""What the servers are asked: a model, the requests, how much at a time, and which answer is right."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "workloads"

ONE_CORE, MACHINE = "one-core", "machine"

_BOUNDARY = "a-line-between-the-parts"
_FOX = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]


@dataclass(frozen=True)
class Workload:
    """``kind`` is how a payload travels: as "json", as the "body" itself, as a "form", or in "base64" inside JSON.

    ``batches`` are the largest batches that a peer's user would try; ``open_loop`` asks for given rates besides.
    """

    name: str
    about: str
    kind: str
    payloads: Callable[[], list[Any]]
    clients: tuple[int, ...]
    folder: str
    tracks: tuple[str, ...] = (ONE_CORE, MACHINE)
    batches: tuple[int, ...] = (1, 8)
    open_loop: bool = False
    everybody: bool = False
    """Whether peers that start slowly are asked, too."""
    tolerance: float = 2e-4
    """How far a number of an answer may be from the plain predictor's."""
    api: tuple[tuple[str, Any], ...] = ()
    """What cortex.yaml says of the predictor besides its path, as a user who knows this load would write it."""

    @property
    def waits(self) -> bool:
        return self.name == "waiting"

    @property
    def path(self) -> Path:
        return FOLDER / self.folder


def _fox(words: int, first: int = 0) -> str:
    return " ".join(_FOX[(first + index) % len(_FOX)] for index in range(words))


def _short_texts() -> list[Any]:
    return [{"text": _fox(27, first)} for first in range(4)]  # 29 tokens each


def _texts_of_any_length() -> list[Any]:
    chance = random.Random(5)
    lengths = [round(5 * 80 ** (index / 39)) for index in range(40)]  # 5 to 400, more of the short
    chance.shuffle(lengths)
    # Two tokens stand around the words, which are a token each.
    return [{"text": _fox(max(3, length - 2))} for length in lengths]


def _articles() -> list[Any]:
    chance = random.Random(7)
    return [{"text": " ".join(chance.choices(_FOX, k=count))} for count in (60, 120, 200)]


def _images() -> list[Any]:
    import numpy as np
    from PIL import Image

    found: list[Any] = []
    for seed in range(6):
        small = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((224, 224), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def _megabyte() -> list[Any]:
    return [random.Random(3).randbytes(1_000_000)]


_ALL = (
    Workload(
        "no-op",
        "no model: the server alone",
        "json",
        _short_texts,
        (1, 8, 32, 64),
        "noop",
        open_loop=True,
        everybody=True,
    ),
    Workload(
        "encoder",
        "an encoder of MiniLM's size, 29 tokens",
        "json",
        _short_texts,
        (1, 8, 32),
        "encoder",
        open_loop=True,
        everybody=True,
    ),
    Workload("mixed", "MiniLM, texts of 5 to 400 tokens", "json", _texts_of_any_length, (1, 32), "mixed"),
    Workload("image", "MobileNetV2, a JPEG of 224 × 224", "body", _images, (1, 8), "image"),
    Workload("upload-form", "1 MB as multipart", "form", _megabyte, (1, 8), "upload", tracks=(MACHINE,), batches=(1,)),
    Workload("upload-base64", "1 MB in base64", "base64", _megabyte, (1, 8), "upload", tracks=(MACHINE,), batches=(1,)),
    Workload("summarizer", "BART, beam search over 4", "json", _articles, (1, 8), "summarizer", batches=(1,)),
    Workload(
        "waiting",
        "50 ms of waiting, async",
        "json",
        _short_texts,
        (1, 32, 64),
        "waiting",
        tracks=(MACHINE,),
        batches=(1,),
        api=(("threads_per_process", 64),),
    ),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def quick(workload: Workload) -> Workload:
    """The same in a few seconds."""
    few = tuple(count for count in workload.clients if count in (1, 32)) or workload.clients[:1]
    return replace(workload, clients=few, open_loop=False, everybody=False)


def encode_payload(kind: str, payload: Any) -> tuple[bytes, str]:
    """The body of a request and its content type, as a plain HTTP client would send it."""
    if kind == "body":
        return payload, "application/octet-stream"
    if kind == "form":
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return head.encode() + payload + f"\r\n--{_BOUNDARY}--\r\n".encode(), (
            f"multipart/form-data; boundary={_BOUNDARY}"
        )
    value = {"file": base64.b64encode(payload).decode()} if isinstance(payload, bytes) else payload
    return json.dumps(value).encode(), "application/json"
