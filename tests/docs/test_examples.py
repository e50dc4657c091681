"""Every example, compiled as its README says and served together with the others, answers as the plain predictor."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from .example_requests import REQUESTS, Answer, Ask

# Compiling and starting happens within the first test that asks for it.
pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(600)]

# What must have come through export and proof. Whether it is used is for the figures to say, on each machine anew.
PROVEN = {
    "batch-scorer": ["predictor.model"],
    "echo": [],
    "image-classifier": ["predictor.model"],
    "iris-classifier": ["predictor.model"],
    "multi-model": [f"predictor.client.models['{model}']" for model in ("lisbon/1", "lisbon/2", "oslo/1")],
    "text-analyzer": ["predictor.analyzer.model"],
    "text-generator": ["predictor.model"],
}


def ask_by_http(client: httpx.Client, url: str, ask: Ask) -> Answer:
    headers = {**ask.headers, "content-type": ask.content_type}
    response = client.post(f"{url}?{ask.query}" if ask.query else url, content=ask.body, headers=headers)
    is_json = response.headers["content-type"].startswith("application/json")
    return Answer(response.status_code, response.json() if is_json else response.text)


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    """Equal, but for the last digits of a number and for headers that a client adds."""
    if isinstance(expected, dict):
        found = {name: found[name] for name in expected} if path.endswith("headers") else found
        assert found.keys() == expected.keys(), path
        for name in expected:
            assert_same(found[name], expected[name], f"{path}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{path}[{index}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-3, abs_tol=1e-4), f"{path}: {found} is not {expected}"
    else:
        assert found == expected, path


@pytest.mark.parametrize("name", REQUESTS)
def test_it_compiles(compiled: Callable[[str], tuple[Path, str]], name: str) -> None:
    build, printed = compiled(name)
    report = json.loads((build / "report.json").read_text())
    assert [sample["answers_equal"] for sample in report["samples"]] == [True] * len(report["samples"])
    assert "Traceback" not in printed
    found = {module["path"]: module["signatures"] for module in report["modules"]}
    for path in PROVEN.get(name, ()):
        attempts = [attempt for signature in found[path] for attempt in signature["attempts"]]
        assert attempts
        assert {attempt["refused_at"] for attempt in attempts} <= {None, "measure"}, attempts


@pytest.mark.parametrize("name", REQUESTS)
def test_it_answers_as_the_plain_predictor(
    served_urls: dict[str, str], plain_answers: Callable[[str], list[Answer]], name: str
) -> None:
    expected = plain_answers(name)
    with httpx.Client(timeout=60) as client:
        found = [ask_by_http(client, served_urls[name], ask) for ask in REQUESTS[name]]
    assert [answer.status for answer in found] == [answer.status for answer in expected]
    assert_same([answer.body for answer in found], [answer.body for answer in expected])


def test_all_at_once_get_their_own_answers(
    served_urls: dict[str, str], plain_answers: Callable[[str], list[Answer]]
) -> None:
    asked = [
        (name, ask, answer)
        for name, asks in REQUESTS.items()
        for ask, answer in zip(asks, plain_answers(name), strict=True)
    ]
    random.Random(0).shuffle(asked)
    with httpx.Client(timeout=120) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda row: ask_by_http(client, served_urls[row[0]], row[1]), asked))
    for (name, _, expected), answer in zip(asked, found, strict=True):
        assert answer.status == expected.status, name
        assert_same(answer.body, expected.body, name)
