"""The examples are predictors like any other: each answers its requests without a line of ours."""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .example_requests import EXAMPLES, REQUESTS, Answer

PlainAnswers = Callable[[str], list[Answer]]


def test_every_example_is_asked() -> None:
    assert sorted(REQUESTS) == sorted(path.parent.name for path in EXAMPLES.glob("*/predictor.py"))


@pytest.mark.parametrize("example", REQUESTS)
def test_an_example_knows_nothing_of_us(example: str) -> None:
    folder = EXAMPLES / example
    for source in folder.glob("*.py"):
        assert "cortex_compile" not in source.read_text()
    imports_others = any("import torch" in source.read_text() for source in folder.glob("*.py"))
    assert (folder / "requirements.txt").is_file() == imports_others
    assert list(folder.glob("sample*"))


@pytest.mark.parametrize("example", REQUESTS)
def test_the_readme_of_an_example_tells_how_to_run_it(example: str) -> None:
    folder = EXAMPLES / example
    text = (folder / "README.md").read_text()
    assert f"    cortex-compile predictor.py\n    cortex-compile serve build/{example}\n    curl " in text
    files = [word.partition("@")[2] for word in text.split() if word.startswith(("@sample", "image=@sample"))]
    assert files
    assert [file for file in files if not (folder / file).is_file()] == []
    assert f"(examples/{example}/)" in (EXAMPLES.parent / "README.md").read_text()


def test_sentence_encoder(plain_answers: PlainAnswers) -> None:
    short, long, several, _ = (answer.body for answer in plain_answers("sentence-encoder"))
    for embedding in [short["embedding"], long["embedding"], *several["embeddings"]]:
        assert len(embedding) == 384
        assert math.isclose(math.hypot(*embedding), 1.0, rel_tol=1e-5)
    first, second, other = several["embeddings"]
    assert cosine(first, second) > 0.6 > 0.2 > cosine(first, other)


def test_iris_classifier(plain_answers: PlainAnswers) -> None:
    assert [answer.body for answer in plain_answers("iris-classifier")] == ["setosa", "versicolor", "virginica"]


def test_text_analyzer(plain_answers: PlainAnswers) -> None:
    happy, unhappy, article, notice, unknown = plain_answers("text-analyzer")
    assert (happy.body["label"], unhappy.body["label"]) == ("POSITIVE", "NEGATIVE")
    assert len(article.body.split()) > 20
    assert len(notice.body.split()) > 20
    assert article.body != notice.body
    assert unknown == Answer(400, {"error": "unknown model: translator"})


def test_image_classifier(plain_answers: PlainAnswers) -> None:
    star, triangle, circle, broken = plain_answers("image-classifier")
    assert [answer.body["label"] for answer in (star, triangle, circle)] == ["star", "triangle", "circle"]
    assert min(answer.body["score"] for answer in (star, triangle, circle)) > 0.5
    assert broken == Answer(400, {"error": "this is not an image"})


def test_text_generator(plain_answers: PlainAnswers) -> None:
    answers = [answer.body for answer in plain_answers("text-generator")]
    prompts = [json.loads(ask.body)["text"] for ask in REQUESTS["text-generator"]]
    known = set((EXAMPLES / "text-generator" / "corpus.txt").read_text().split())
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.startswith(prompt)
        words = answer.split()
        assert len(words) > len(prompt.split()) + 5
        # Its last word may be cut, and the model may join what the corpus did not.
        assert len(known & set(words)) > len(words) / 2


def test_token_streamer(plain_answers: PlainAnswers) -> None:
    long, short, other = (answer.body for answer in plain_answers("token-streamer"))
    assert short == " is soft, add a litre of water"
    assert long.endswith(".")
    assert other.endswith(".")


def test_batch_scorer(plain_answers: PlainAnswers) -> None:
    loyal, leaving, *others = (answer.body for answer in plain_answers("batch-scorer"))
    assert (loyal["call"], leaving["call"]) == (False, True)
    assert loyal["risk"] < 0.1 < 0.9 < leaving["risk"]
    assert len({answer["risk"] for answer in others}) == len(others)


def test_multi_model(plain_answers: PlainAnswers) -> None:
    latest, first, second, oslo, _, unknown = plain_answers("multi-model")
    assert latest.body["rent"] == second.body["rent"]
    assert first.body["rent"] == pytest.approx(62.5 * 14 + 3 * 90 + 2 * 8, rel=0.05)
    assert second.body["rent"] == pytest.approx(62.5 * 17 + 3 * 110 + 2 * 10, rel=0.05)
    assert oslo.body["rent"] == pytest.approx(62.5 * 19 + 3 * 150 + 2 * 5, rel=0.05)
    assert unknown == Answer(400, {"error": "unknown model: atlantis"})


def test_echo(plain_answers: PlainAnswers) -> None:
    first, text, raw, caller = (answer.body for answer in plain_answers("echo"))
    assert first["payload"] == {"numbers": [1, 2.5, None], "text": "für alle"}
    assert first["query"] == {"colour": ["red", "blue"]}
    assert text["payload"] == "Plain text arrives as text.\n"
    assert base64.b64decode(raw["payload"]["base64"]) == bytes(range(256))
    assert raw["query"] == {"empty": [""], "a": ["é"]}
    assert (caller["payload"], caller["headers"]["x-caller"]) == ("only a text", "a test")


@pytest.mark.parametrize(
    ("example", "network", "inputs", "decide"),
    [
        ("iris-classifier", "IrisNet", "train.read_flowers()[0]", "scores.argmax(dim=1)"),
        ("batch-scorer", "RiskNet", "train.draw_customers(2000)[0]", "scores > 0"),
    ],
)
def test_the_weights_are_those_that_the_script_trains(
    example_folder: Callable[[str], Path], example: str, network: str, inputs: str, decide: str, tmp_path: Path
) -> None:
    """They decide alike: another processor sums in another order, and training spreads that over the weights."""
    copy = tmp_path / example
    copy.mkdir()
    for path in example_folder(example).iterdir():
        if path.is_file() and path.suffix != ".pth":
            (copy / path.name).write_bytes(path.read_bytes())
    subprocess.run([sys.executable, "train.py"], cwd=copy, check=True, capture_output=True, timeout=120)
    compare = f"""
import sys, torch, train
from model import {network}
def decisions(weights):
    network = {network}().eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    scores = network(inputs)
    return {decide}
inputs = {inputs}
with torch.no_grad():
    print((decisions("weights.pth") == decisions(sys.argv[1])).float().mean().item())
"""
    command = [sys.executable, "-c", compare, str(EXAMPLES / example / "weights.pth")]
    alike = subprocess.run(command, cwd=copy, check=True, capture_output=True, text=True, timeout=120)
    assert float(alike.stdout) >= 0.97


def cosine(one: list[float], other: list[float]) -> float:
    """Of vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))
