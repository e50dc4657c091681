"""What each example is asked: the samples that it is compiled with, and what it was never shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cortex_compile.content_types import content_type_of

from .scripts import ROOT

EXAMPLES = ROOT / "examples"
# Two threads on two busy cores wait for each other most of the time.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Ask:
    """One request."""

    body: bytes
    content_type: str = "application/json"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """``body`` is the value, where it is JSON, and the text otherwise."""

    status: int
    body: Any


def _file(path: str, query: str = "", content_type: str | None = None, **headers: str) -> Ask:
    return Ask((EXAMPLES / path).read_bytes(), content_type or content_type_of(path), query, headers)


def _json(query: str = "", **payload: Any) -> Ask:
    return Ask(json.dumps(payload).encode(), query=query)


REQUESTS: dict[str, tuple[Ask, ...]] = {
    "batch-scorer": (
        _file("batch-scorer/sample-loyal.json"),
        _file("batch-scorer/sample-leaving.json"),
        *(_json(months=months, bill=60 + months / 4, calls=months % 5, late_payments=1) for months in range(1, 40, 3)),
    ),
    "echo": (
        _file("echo/sample.json", "colour=red&colour=blue"),
        _file("echo/sample.txt"),
        Ask(bytes(range(256)), "application/octet-stream", "empty=&a=%C3%A9"),
        Ask(b'"only a text"', headers={"x-caller": "a test"}),
    ),
    "image-classifier": (
        _file("image-classifier/sample.jpg"),
        _file("image-classifier/sample.png"),
        _file("image-classifier/sample-upload.bin", "", "multipart/form-data; boundary=a-line-between-the-parts"),
        Ask(b"no image", "image/png"),
    ),
    "iris-classifier": tuple(
        _file(f"iris-classifier/sample-{species}.json") for species in ("setosa", "versicolor", "virginica")
    ),
    "multi-model": (
        _file("multi-model/sample.json", "model=lisbon"),
        _file("multi-model/sample.json", "model=lisbon&version=1"),
        _file("multi-model/sample.json", "model=lisbon&version=2"),
        _file("multi-model/sample.json", "model=oslo&version=1"),
        _json("model=oslo", area=20, rooms=1, floor=11),
        _file("multi-model/sample.json", "model=atlantis"),
    ),
    "sentence-encoder": (
        _file("sentence-encoder/sample-short.json"),
        _file("sentence-encoder/sample-long.json"),
        _file("sentence-encoder/sample-list.json"),
        _json(text=["one", "two more", "and three of them"]),
    ),
    "text-analyzer": (
        _file("text-analyzer/sample-happy.json", "model=sentiment"),
        _file("text-analyzer/sample-unhappy.json", "model=sentiment"),
        _file("text-analyzer/sample-article.json", "model=summarizer"),
        _file("text-analyzer/sample-notice.json", "model=summarizer"),
        _file("text-analyzer/sample-notice.json", "model=translator"),
    ),
    "text-generator": (
        _file("text-generator/sample.json"),
        _file("text-generator/sample-short.json"),
        _json(text="The lighthouse", seed=5, num_words=40),
    ),
    "token-streamer": (
        _file("token-streamer/sample.json"),
        _file("token-streamer/sample-short.json"),
        _json(text="Mix the flour", seed=9),
    ),
}


def answer_plainly(folder: Path, asks: Sequence[Ask]) -> list[Answer]:
    """The predictor's own answers, from a process that knows nothing of us."""
    asked = [
        {
            "body": base64.b64encode(ask.body).decode(),
            "content_type": ask.content_type,
            "query": ask.query,
            "headers": ask.headers,
        }
        for ask in asks
    ]
    script = Path(__file__).with_name("predict_plainly.py")
    run = subprocess.run(
        [sys.executable, "-B", str(script)],
        cwd=folder,
        env=ENVIRONMENT,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    # transformers complains on each request of lengths that it doubts.
    assert "max_length" not in run.stderr, run.stderr
    return [Answer(**answer) for answer in json.loads(run.stdout.splitlines()[-1])]
