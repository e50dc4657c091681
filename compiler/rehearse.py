"""The last proof, in a process of its own: the predictor answers its samples eager and then from the build.

The build is read by the runtime that will serve it. Remote cores are opened in this process, since no Triton runs yet.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.answer_samples import answer_sample, load_predictor
from cortex_compile.compiler.artifacts import MemoryReport, Project, Rehearsal, Sample, SampleReport
from cortex_compile.compiler.compare_answers import answers_equal
from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.answer import Answer
from cortex_compile.python_backend.exchange import CallRemote, exchange_cores
from cortex_compile.python_backend.load_predictor import LoadedClass
from cortex_compile.python_backend.manifest import Manifest, read_manifest
from cortex_compile.python_backend.records import from_json, to_json

WARM_UP_RUNS = 2
MINIMUM_RUNS = 3
SAMPLE_S = 1.0


@dataclass(frozen=True)
class RehearsalRequest:
    project: Project
    build: Path


def rehearse(request: RehearsalRequest) -> Rehearsal:
    project = request.project
    manifest = read_manifest(request.build / "manifest.json")
    loaded, predictor = load_predictor(project)
    before = [_time_sample(predictor, loaded, sample) for sample in project.samples]
    repeated = [answer_sample(predictor, loaded, sample) for sample in project.samples]
    eager_mib = _resident_mib()
    version_folder = request.build / "model_repository" / manifest.name / "1"
    remote = _open_remote_cores(manifest, request.build / "model_repository")
    exchanged = exchange_cores(predictor, loaded.module, manifest, version_folder, remote)
    after = [_time_sample(predictor, loaded, sample) for sample in project.samples]
    compiled_mib = _resident_mib()
    samples = tuple(
        SampleReport(
            sample.name,
            answer.status_code,
            # What differs between two eager runs by itself cannot be compared.
            answers_equal(eager, answer) or not answers_equal(eager, again),
            round(eager_ms, 4),
            round(compiled_ms, 4),
            round(eager_ms / compiled_ms, 3),
        )
        for sample, (eager, eager_ms), again, (answer, compiled_ms) in zip(
            project.samples, before, repeated, after, strict=True
        )
    )
    states = {core.name: "compiled" if core.state == "compiled" else core.reason for core in exchanged}
    return Rehearsal(samples, MemoryReport(round(eager_mib, 1), round(compiled_mib, 1)), states)


def _time_sample(predictor: object, loaded: LoadedClass, sample: Sample) -> tuple[Answer, float]:
    """The first answer, and the median time in milliseconds of those after warming up."""
    first = answer_sample(predictor, loaded, sample)
    for _ in range(WARM_UP_RUNS - 1):
        answer_sample(predictor, loaded, sample)
    times_ms: list[float] = []
    started = time.perf_counter()
    while len(times_ms) < MINIMUM_RUNS or time.perf_counter() - started < SAMPLE_S:
        before = time.perf_counter()
        answer_sample(predictor, loaded, sample)
        times_ms.append((time.perf_counter() - before) * 1e3)
    return first, statistics.median(times_ms)


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


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


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
