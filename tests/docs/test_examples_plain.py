"""The examples are predictors like any other: each answers its samples without a line of ours."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/predictor.py"))


def answers_of(folder: Path, *requests: tuple[str, str]) -> list[Any]:
    """The predictor's answers to (query string, file name of a sample) pairs, from a process of its own."""
    asked = [(query, json.loads((folder / sample).read_text())) for query, sample in requests]
    script = Path(__file__).with_name("predict_plainly.py")
    run = subprocess.run(
        [sys.executable, "-B", str(script)],
        cwd=folder,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    answers: list[Any] = json.loads(run.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_knows_nothing_of_us(example: str) -> None:
    folder = ROOT / "examples" / example
    for source in folder.glob("*.py"):
        assert "cortex_compile" not in source.read_text()
    assert (folder / "cortex.yaml").is_file()
    assert (folder / "requirements.txt").is_file()
    assert len(list(folder.glob("sample*"))) >= 2
    assert f"cortex-compile serve build/{example}" in (folder / "README.md").read_text()


def test_sentence_encoder() -> None:
    short, long, several = answers_of(
        ROOT / "examples" / "sentence-encoder",
        ("", "sample-short.json"),
        ("", "sample-long.json"),
        ("", "sample-list.json"),
    )
    for embedding in [short["embedding"], long["embedding"], *several["embeddings"]]:
        assert len(embedding) == 384
        assert math.isclose(math.hypot(*embedding), 1.0, rel_tol=1e-5)
    first, second, other = several["embeddings"]
    assert cosine(first, second) > 0.6 > 0.2 > cosine(first, other)


def test_iris_classifier() -> None:
    species = ["setosa", "versicolor", "virginica"]
    asked = [("", f"sample-{name}.json") for name in species]
    assert answers_of(ROOT / "examples" / "iris-classifier", *asked) == species


def test_the_weights_of_iris_are_those_that_its_script_trains(tmp_path: Path) -> None:
    import torch

    shipped = ROOT / "examples" / "iris-classifier"
    copy = shutil.copytree(shipped, tmp_path / "iris")
    (copy / "weights.pth").unlink()
    subprocess.run([sys.executable, "train.py"], cwd=copy, check=True, capture_output=True, timeout=120)
    expected = torch.load(shipped / "weights.pth", weights_only=True)
    found = torch.load(copy / "weights.pth", weights_only=True)
    assert expected.keys() == found.keys()
    for name, weight in expected.items():
        # Another processor sums in another order, and training spreads that.
        torch.testing.assert_close(found[name], weight, rtol=0.01, atol=0.01)


def test_text_analyzer(tmp_path: Path) -> None:
    folder = shutil.copytree(
        ROOT / "examples" / "text-analyzer", tmp_path / "x", ignore=shutil.ignore_patterns("models")
    )
    happy, unhappy, article, notice, unknown = answers_of(
        folder,
        ("model=sentiment", "sample-happy.json"),
        ("model=sentiment", "sample-unhappy.json"),
        ("model=summarizer", "sample-article.json"),
        ("model=summarizer", "sample-notice.json"),
        ("model=translator", "sample-notice.json"),
    )
    assert (happy["label"], unhappy["label"]) == ("POSITIVE", "NEGATIVE")
    assert len(article.split()) > 20
    assert len(notice.split()) > 20
    assert article != notice
    assert unknown == {"status_code": 400, "body": '{"error":"unknown model: translator"}'}


def cosine(one: list[float], other: list[float]) -> float:
    """Of vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))
