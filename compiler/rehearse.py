"""The last proof, in a process of its own: the predictor answers its samples eager and then from the build.

The build is read by the runtime that will serve it. Remote cores are opened in this process, since no Triton runs yet.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.answer_samples import answer_question, answer_questions, load_predictor
from cortex_compile.compiler.artifacts import MemoryReport, Project, Rehearsal, SampleReport
from cortex_compile.compiler.choose_dispatch import why_not_to_ask
from cortex_compile.compiler.compare_answers import answers_equal, worst_of_answers
from cortex_compile.compiler.measure_latency import measure_latency
from cortex_compile.compiler.memory_use import own_mib, peak_mib, resident_mib
from cortex_compile.compiler.prove_turn import Answered, CallHook, why_not_passed
from cortex_compile.compiler.questions import Question, questions_of
from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.exchange import CallRemote, ExchangedCore, exchange_cores
from cortex_compile.python_backend.find_modules import find_modules
from cortex_compile.python_backend.load_predictor import LoadedClass
from cortex_compile.python_backend.manifest import Manifest, read_manifest
from cortex_compile.python_backend.records import from_json, to_json

WINDOWS = 4


@dataclass(frozen=True)
class RehearsalRequest:
    project: Project
    build: Path


def rehearse(request: RehearsalRequest) -> Rehearsal:
    project = request.project
    manifest = read_manifest(request.build / "manifest.json")
    loaded, predictor = load_predictor(project)
    questions = questions_of(project)
    eager = answer_questions(predictor, loaded, questions)
    again = answer_questions(predictor, loaded, questions)
    before_mib, before_own_mib = resident_mib(), own_mib()
    version_folder = request.build / "model_repository" / manifest.name / "1"
    remote = _open_remote_cores(manifest, request.build / "model_repository")
    hook = CallHook()
    hooked = replace(manifest, cores=tuple(replace(core, call_ms=math.inf) for core in manifest.cores))
    exchanged = exchange_cores(predictor, loaded.module, hooked, version_folder, remote, hook)
    compiled = answer_questions(predictor, loaded, questions)
    after_mib, after_own_mib = resident_mib(), own_mib()
    switch = _Switch(predictor, loaded, manifest)
    tolerance = project.settings.tolerances.float32
    samples = []
    for question, before, repeated, after in zip(questions, eager, again, compiled, strict=True):
        ways = partial(switch.answer_eager, question), partial(switch.answer_compiled, question)
        measured = measure_latency(*ways, question.name, 0, WINDOWS if exchanged else 1)
        if not exchanged:  # the two ways are one
            measured = replace(measured, compiled_p50_ms=measured.eager_p50_ms, speedup=1.0)
        # What differs between two eager runs by itself cannot be compared.
        worst = worst_of_answers(before, after, tolerance)
        equal = worst.excess <= 1 or not answers_equal(before, repeated, tolerance)
        samples.append(
            SampleReport(
                question.name,
                after.status_code,
                equal,
                measured.eager_p50_ms,
                measured.compiled_p50_ms,
                measured.speedup,
                worst if worst.excess else None,
            )
        )
    states = {
        core.name: "compiled" if core.state == "compiled" else f"{core.reason} {core.detail}".strip()
        for core in exchanged
    }
    memory = MemoryReport(*(round(mib, 1) for mib in (before_mib, after_mib, before_own_mib, after_own_mib)))
    answered = [
        Answered(question, answer, repeats=answers_equal(before, repeated, tolerance))
        for question, before, repeated, answer in zip(questions, eager, again, compiled, strict=True)
    ]
    switch.use_compiled()
    memory_and_states = memory, states, round(peak_mib(), 1)
    if not exchanged:
        return Rehearsal(tuple(samples), *memory_and_states)
    refused = why_not_to_ask(project)
    if refused is None:
        refused = why_not_passed(predictor, loaded, answered, tolerance, hook, partial(_eager_calls, exchanged))
    return Rehearsal(tuple(samples), *memory_and_states, refused)


def _eager_calls(exchanged: Sequence[ExchangedCore]) -> int:
    return sum(sum(core.counts.eager.values()) for core in exchanged)


class _Switch:
    """Puts the compiled forwards in and out, so that both ways are timed in one process in turn."""

    def __init__(self, predictor: object, loaded: LoadedClass, manifest: Manifest) -> None:
        self._predictor = predictor
        self._loaded = loaded
        modules = find_modules(predictor, loaded.module)
        found = [modules[core.path] for core in manifest.cores if core.path in modules]
        self._forwards = [(module, vars(module)["forward"]) for module in found if "forward" in vars(module)]

    def answer_eager(self, question: Question) -> None:
        for module, _ in self._forwards:
            vars(module).pop("forward", None)
        answer_question(self._predictor, self._loaded, question)

    def answer_compiled(self, question: Question) -> None:
        self.use_compiled()
        answer_question(self._predictor, self._loaded, question)

    def use_compiled(self) -> None:
        for module, forward in self._forwards:
            vars(module)["forward"] = forward


def _open_remote_cores(manifest: Manifest, repository: Path) -> CallRemote:
    sessions = {}
    for core in manifest.cores:
        if core.placement == "remote":
            settings = find_engine(core.engine).triton_settings(core.threads)
            assert settings is not None  # choosing has looked
            for variant in core.variants:
                graph = repository / variant.graph / "1" / settings.model_filename
                names = [tensor.name for tensor in variant.inputs]
                sessions[variant.graph] = names, find_engine(core.engine).open_session(graph, core.threads)

    def call(model: str, inputs: dict[str, Any], outputs: Sequence[str]) -> list[Any]:
        names, session = sessions[model]
        return session.run([inputs[name] for name in names])

    return call


def main() -> None:
    """``python -m cortex_compile.compiler.rehearse REQUEST.json PIPE``, where PIPE is a file descriptor."""
    with os.fdopen(int(sys.argv[2]), "w") as pipe:
        request = from_json(RehearsalRequest, json.loads(Path(sys.argv[1]).read_text()))
        try:
            message = {"rehearsal": to_json(rehearse(request))}
        except CortexCompileError as error:
            message = {"error": {"type": type(error).__name__, "message": str(error)}}
        pipe.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    main()
