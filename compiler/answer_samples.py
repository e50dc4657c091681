"""Answer the samples as serving would, in a state that repeats: seeded, one after the other."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

from cortex_compile.compiler.artifacts import Project, Sample
from cortex_compile.errors import PredictorError
from cortex_compile.python_backend.answer import Answer, answer, describe_error
from cortex_compile.python_backend.load_predictor import (
    LoadedClass,
    create_predictor,
    enter_project,
    load_predictor_class,
)
from cortex_compile.python_backend.request import Request


def load_predictor(project: Project) -> tuple[LoadedClass, object]:
    """Import the user's file in its own folder and create the predictor.

    Raises:
        PredictorError: it cannot be imported, breaks the contract, or ``__init__`` raised.
    """
    enter_project(project.folder, project.python_path, project.env)
    loaded = load_predictor_class(project.folder, project.predictor, project.python_path)
    return loaded, create_predictor(loaded, project.config)


def answer_sample(predictor: object, loaded: LoadedClass, sample: Sample) -> Answer:
    """
    Raises:
        PredictorError: predict raised on this sample; the user's file and line and the sample are named.
    """
    seed_everything()
    found = answer(predictor, loaded, Request(sample.body, sample.content_type, sample.query_string, sample.headers))
    if found.error is not None:
        place = describe_error(found.error, loaded.project)
        raise PredictorError(f"{place} (predict on {sample.name}; correct the predictor or the sample)")
    return found


def answer_samples(predictor: object, loaded: LoadedClass, samples: Sequence[Sample]) -> list[Answer]:
    return [answer_sample(predictor, loaded, sample) for sample in samples]


def seed_everything() -> None:
    """Sampling then draws the same numbers each time; libraries that were not imported draw none."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
