"""What is put to predict in one call: a sample, or a batch of them where predict takes batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from cortex_compile.compiler.artifacts import Project, Sample

__all__ = ["Question", "questions_of"]


@dataclass(frozen=True)
class Question:
    """``name`` is for people. A batch of one is still a batch: predict gets lists."""

    name: str
    samples: tuple[Sample, ...]
    batched: bool = False


def questions_of(project: Project) -> tuple[Question, ...]:
    """With server-side batching, each sample alone and then those of a content type together, as requests will come."""
    batching = project.server_side_batching
    if batching is None:
        return tuple(Question(sample.name, (sample,)) for sample in project.samples)
    questions = [Question(sample.name, (sample,), batched=True) for sample in project.samples]
    for content_type in dict.fromkeys(sample.content_type for sample in project.samples):
        alike = iter(sample for sample in project.samples if sample.content_type == content_type)
        while batch := tuple(islice(alike, batching.max_batch_size)):
            # A batch of one has been seen above; two of the same are one of two.
            name = f"{len(batch)} samples of {content_type} together" if len(batch) > 1 else f"{batch[0].name} twice"
            questions.append(Question(name, batch if len(batch) > 1 else batch * 2, batched=True))
    return tuple(questions)
