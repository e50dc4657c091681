"""The child process in which the user's code runs: load, capture, then export, verify and measure each candidate.

It tells its parent what it does and finds in lines of JSON on a pipe, so a crash or a hang costs one candidate: the
parent starts it again with that candidate left out (``isolation.py``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.answer_samples import answer_questions, load_predictor
from cortex_compile.compiler.artifacts import (
    Candidate,
    ModuleRecord,
    Project,
    SignatureRecord,
    candidate_key,
)
from cortex_compile.compiler.candidate_cache import cache_key, keep_candidate, renamed, restore_candidate
from cortex_compile.compiler.capture_modules import CapturedModule, CapturedSignature, capture_modules
from cortex_compile.compiler.export_request import make_export_request
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.compiler.questions import questions_of
from cortex_compile.compiler.try_candidate import describe_inputs, try_candidate
from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.fingerprint import class_name
from cortex_compile.python_backend.manifest import TensorSpec
from cortex_compile.python_backend.records import from_json, to_json

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True)
class WorkRequest:
    """What the parent asks for. ``finished`` are the candidates of earlier runs, crashed ones included."""

    project: Project
    work_folder: Path
    threads: int
    reproduce: str
    only: str | None
    fresh: bool
    """Look at nothing that an earlier compile kept."""
    finished: tuple[Candidate, ...]


class Teller:
    """Lines of JSON to the parent."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe

    def tell(self, kind: str, value: Any) -> None:
        self._pipe.write(json.dumps({kind: to_json(value)}) + "\n")
        self._pipe.flush()


def run(request: WorkRequest, teller: Teller) -> None:
    teller.tell("step", "load the predictor")
    loaded, predictor = load_predictor(request.project)
    teller.tell("step", f"answer {len(request.project.samples)} samples")
    modules, notices, streaming = _capture(request.project, predictor, loaded.module, loaded)
    teller.tell("streaming", streaming)
    for notice in notices:
        teller.tell("notice", notice)
    names = unique_names([captured.path for captured in modules])
    finished = {candidate.key: candidate for candidate in request.finished}
    for captured, name in zip(modules, names, strict=True):
        record = _record(captured, name)
        if captured.path in request.project.settings.leave_alone:
            record = replace(record, refused="compile.leave_alone says so")
        elif request.only is not None and captured.path != request.only:
            record = replace(record, refused=f"only {request.only} was asked for")
        teller.tell("module", record)
        if record.refused is None:
            _try_module(request, teller, captured, record, finished)
    teller.tell("versions", _versions())


def _capture(
    project: Project, predictor: object, user_module: ModuleType, loaded: Any
) -> tuple[tuple[CapturedModule, ...], list[str], bool]:
    """Answer the samples once unwatched (lazy loading happens now), then watched; compare the two.

    The last of the three: whether a sample was answered in chunks.
    """
    questions = questions_of(project)
    first = answer_questions(predictor, loaded, questions)
    second: list[Any] = []
    modules = capture_modules(
        predictor,
        user_module,
        project.folder,
        lambda: second.extend(answer_questions(predictor, loaded, questions)),
    )
    notices = [
        f"{question.name}: the predictor answers it differently each time, so its answer was not compared"
        for question, before, after in zip(questions, first, second, strict=True)
        if before.body != after.body
    ]
    return modules, notices, any(answer.streamed for answer in second)


def _try_module(
    request: WorkRequest,
    teller: Teller,
    captured: CapturedModule,
    record: ModuleRecord,
    finished: dict[str, Candidate],
) -> None:
    for engine_name in request.project.settings.engines:
        if engine_name == "eager":
            continue
        equal: list[Candidate] = []
        for signature_record, signature in zip(record.signatures, captured.signatures.values(), strict=True):
            key = candidate_key(record.name, signature_record.variant, engine_name)
            candidate = finished.get(key) or _try(
                request, teller, captured, record, signature_record.variant, signature, engine_name
            )
            teller.tell("candidate", candidate)
            if candidate.variant is not None:
                equal.append(candidate)
        if equal:
            teller.tell("step", f"{record.path}: store its weights")
            teller.tell(
                "core", finish_core(captured, record.name, engine_name, equal, request.work_folder, request.threads)
            )


def _try(
    request: WorkRequest,
    teller: Teller,
    captured: CapturedModule,
    record: ModuleRecord,
    variant_name: str,
    signature: CapturedSignature,
    engine_name: str,
) -> Candidate:
    engine = find_engine(engine_name)
    folder = request.work_folder / "candidates" / record.name / engine_name / variant_name
    place = str(folder.relative_to(request.work_folder))
    shutil.rmtree(folder, ignore_errors=True)
    reproduce = f"{request.reproduce} --only {record.path!r} --engine {engine_name} --dry-run --fresh"
    key = cache_key(captured, signature, engine_name, request.threads, request.project)
    kept = None if request.fresh else restore_candidate(key, folder)
    if kept is not None:
        teller.tell("step", f"{record.path}: unchanged since an earlier compile")
        return renamed(kept, record.name, variant_name, reproduce, place)
    attempt, variant = try_candidate(
        captured,
        signature,
        variant_name,
        engine,
        folder,
        request.threads,
        reproduce,
        lambda stage: teller.tell(
            "candidate_step",
            {"key": candidate_key(record.name, variant_name, engine_name), "stage": stage, "path": record.path},
        ),
        request.project.settings.tolerances,
    )
    candidate = Candidate(record.name, variant_name, attempt, variant, place)
    keep_candidate(key, candidate, folder)
    return candidate


def _record(captured: CapturedModule, name: str) -> ModuleRecord:
    signatures = [] if captured.refused else list(captured.signatures.values())
    parameters = list(captured.module.parameters())
    return ModuleRecord(
        name=name,
        path=captured.path,
        class_name=class_name(captured.module),
        called_from=captured.called_from,
        count=captured.count,
        parameters=sum(parameter.numel() for parameter in parameters),
        parameter_bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        refused=captured.refused,
        signatures=tuple(
            SignatureRecord(f"v{number}", _describe(captured, signature), signature.count)
            for number, signature in enumerate(signatures)
        ),
    )


def _describe(captured: CapturedModule, signature: CapturedSignature) -> tuple[str, ...]:
    tensors = signature.calls[0].arguments.tensors
    names = make_export_request(captured.module, signature.calls[0], ()).input_names
    dtypes = [str(tensor.dtype).removeprefix("torch.") for tensor in tensors]
    return describe_inputs([TensorSpec(name, dtype, ()) for name, dtype in zip(names, dtypes, strict=True)], tensors)


def unique_names(paths: Sequence[str]) -> list[str]:
    """A short name for each path that is good for a folder and a Triton model: ``predictor.nets['a']`` is nets-a."""
    names: list[str] = []
    for path in paths:
        plain = re.sub(r"\W+", "-", path.removeprefix("predictor.")).strip("-").lower() or "core"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names


def _versions() -> dict[str, str]:
    """Of what the graphs depend on and of what may change the meaning of the user's modules."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("torch", "transformers", "numpy", "onnx", "onnxscript", "onnxruntime"):
        if name in sys.modules:
            versions[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return versions


def main() -> None:
    """``python -m cortex_compile.compiler.workbench REQUEST.json PIPE``, where PIPE is a file descriptor."""
    with os.fdopen(int(sys.argv[2]), "w") as pipe:
        teller = Teller(pipe)
        value = json.loads(Path(sys.argv[1]).read_text())
        try:
            run(from_json(WorkRequest, value), teller)
        except CortexCompileError as error:
            teller.tell("error", {"type": type(error).__name__, "message": str(error)})
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
