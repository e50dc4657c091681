"""Samples are put to predict as requests will be: one by one, or in lists where predict takes batches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cortex_compile.compiler.answer_samples import answer_questions, load_predictor
from cortex_compile.compiler.artifacts import Project
from cortex_compile.compiler.questions import questions_of
from cortex_compile.compiler.read_project import read_projects
from cortex_compile.errors import PredictorError
from cortex_compile.python_backend.manifest import BatchingSpec

pytestmark = pytest.mark.usefixtures("process_as_before")


def project_of(folder: Path, predictor: Path, **samples: str) -> Project:
    (folder / "predictor.py").write_text(predictor.read_text())
    for name, text in samples.items():
        (folder / name.replace("_", ".")).write_text(text)
    (project,) = read_projects(folder / "predictor.py", config=None, samples=(), name=None, settings_overrides={})
    return replace(project, server_side_batching=BatchingSpec(2, 1.0))


def test_each_sample_alone_and_those_of_a_kind_together(predictors: Path, tmp_path: Path) -> None:
    samples = {"sample1_json": "1", "sample2_json": "2", "sample3_json": "3", "sample_txt": "words"}
    project = project_of(tmp_path, predictors / "batched" / "predictor.py", **samples)
    questions = questions_of(project)
    assert [(question.name, len(question.samples)) for question in questions] == [
        ("sample.txt", 1),
        ("sample1.json", 1),
        ("sample2.json", 1),
        ("sample3.json", 1),
        ("sample.txt twice", 2),
        ("2 samples of application/json together", 2),
        ("sample3.json twice", 2),
    ]
    loaded, predictor = load_predictor(project)
    answers = [json.loads(found.body) for found in answer_questions(predictor, loaded, questions)]
    assert [answer["batch"] for answer in answers[:4]] == [["words"], [1], [2], [3]]
    assert [[item["item"] for item in answer] for answer in answers[4:]] == [["words", "words"], [1, 2], [3, 3]]
    assert [item["batch"] for item in answers[5]] == [[1, 2], [1, 2]]


def test_without_batching_a_question_is_a_sample(predictors: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path, predictors / "batched" / "predictor.py", sample1_json="1", sample2_json="2")
    questions = questions_of(replace(project, server_side_batching=None))
    assert [(question.name, question.batched) for question in questions] == [
        ("sample1.json", False),
        ("sample2.json", False),
    ]


def test_a_batch_that_goes_wrong_names_its_samples(predictors: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path, predictors / "batched" / "predictor.py", sample_json='"fail"')
    loaded, predictor = load_predictor(project)
    with pytest.raises(PredictorError, match=r"predictor\.py:\d+: KeyError: 'a secret' \(predict on sample\.json;"):
        answer_questions(predictor, loaded, questions_of(project))
