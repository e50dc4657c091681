"""Answer the samples as serving would, in a state that repeats: seeded, one after the other."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from dataclasses import replace

from cortex_compile.compiler.artifacts import Project
from cortex_compile.compiler.questions import Question
from cortex_compile.errors import PredictorError
from cortex_compile.python_backend.answer import (
    Answer,
    answer,
    answer_bad_request,
    describe_error,
    parse_arguments,
)
from cortex_compile.python_backend.answer_batch import answer_batch
from cortex_compile.python_backend.load_predictor import (
    LoadedClass,
    create_predictor,
    enter_project,
    load_predictor_class,
)
from cortex_compile.python_backend.python_client import PythonClient
from cortex_compile.python_backend.request import BadRequest, Request

_JSON = (("content-type", "application/json"),)


def load_predictor(project: Project) -> tuple[LoadedClass, object]:
    """Import the user's file in its own folder and create the predictor.

    Raises:
        PredictorError: it cannot be imported, breaks the contract, or ``__init__`` raised.
    """
    loaded = load_class(project)
    return loaded, create_predictor(loaded, project.config, _client_of(project))


def load_class(project: Project) -> LoadedClass:
    """Import the user's file in its own folder.

    Raises:
        PredictorError: it cannot be imported, or breaks the contract.
    """
    if project.settings.device == "cpu":
        # For `torch.cuda.is_available()` in the user's file, which is asked before CUDA looks for itself.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    enter_project(project.folder, project.python_path, project.env, project.processes_per_replica)
    return load_predictor_class(
        project.folder,
        project.predictor,
        project.python_path,
        has_models=project.models is not None,
        nan_as_null=project.nan_as_null,
    )


def _client_of(project: Project) -> PythonClient | None:
    if project.models is None:
        return None
    # All models that the samples ask for stay in memory, so that what is in them can be found afterwards.
    return PythonClient(project.folder, replace(project.models, cache_size=None))


def answer_question(predictor: object, loaded: LoadedClass, question: Question) -> Answer:
    """The answer to a sample, or those to a batch of them as one.

    Raises:
        PredictorError: predict raised; the user's file and line and the sample are named.
    """
    seed_everything()
    requests = [
        Request(sample.body, sample.content_type, sample.query_string, sample.headers) for sample in question.samples
    ]
    if question.batched:
        answers = _answer_batch(predictor, loaded, requests)
    else:
        answers = [answer(predictor, loaded, request) for request in requests]
    for found in answers:
        if found.error is not None:
            place = describe_error(found.error, loaded.project)
            raise PredictorError(f"{place} (predict on {question.name}; correct the predictor or the sample)")
    return answers[0] if len(answers) == 1 else _join(answers)


def answer_questions(predictor: object, loaded: LoadedClass, questions: Sequence[Question]) -> list[Answer]:
    return [answer_question(predictor, loaded, question) for question in questions]


def _answer_batch(predictor: object, loaded: LoadedClass, requests: Sequence[Request]) -> list[Answer]:
    """A request that cannot be read is in no batch, as at serving."""
    refused: dict[int, Answer] = {}
    batch = []
    for index, request in enumerate(requests):
        try:
            batch.append(parse_arguments(loaded, request))
        except BadRequest as problem:
            refused[index] = answer_bad_request(problem)
    answers = iter(answer_batch(predictor, loaded, batch) if batch else ())
    return [refused[index] if index in refused else next(answers) for index in range(len(requests))]


def _join(answers: Sequence[Answer]) -> Answer:
    """A list of JSON where all are JSON, so that numbers in it are compared as numbers."""
    status_code = max(item.status_code for item in answers)
    if all(item.headers == _JSON for item in answers):
        return Answer(b"[" + b", ".join(item.body for item in answers) + b"]", status_code, _JSON)
    return Answer(b"\0".join(item.body for item in answers), status_code, answers[0].headers)


def seed_everything() -> None:
    """Sampling then draws the same numbers each time; libraries that were not imported draw none."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
