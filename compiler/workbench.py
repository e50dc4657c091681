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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cortex_compile.backends.protocol import Engine, Missing, ReducesPrecision
from cortex_compile.backends.reduced_engine import ReducedEngine
from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.answer_samples import answer_questions, load_predictor
from cortex_compile.compiler.artifacts import (
    Candidate,
    CompileSettings,
    ModuleRecord,
    Precision,
    Project,
    SignatureRecord,
    candidate_key,
    label_of,
)
from cortex_compile.compiler.candidate_cache import cache_key, keep_candidate, renamed, restore_candidate
from cortex_compile.compiler.capture_modules import CapturedModule, CapturedSignature, capture_modules
from cortex_compile.compiler.export_request import make_export_request
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.compiler.library_versions import library_versions
from cortex_compile.compiler.measure_candidate import describe_inputs
from cortex_compile.compiler.memory_use import peak_mib
from cortex_compile.compiler.outside_files import OutsideFiles
from cortex_compile.compiler.questions import questions_of
from cortex_compile.compiler.try_candidate import try_candidate
from cortex_compile.errors import CortexCompileError, EngineError, disk_full
from cortex_compile.python_backend.fingerprint import class_name, packages_of
from cortex_compile.python_backend.manifest import TensorSpec
from cortex_compile.python_backend.records import from_json, to_json

if TYPE_CHECKING:
    pass


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
    """
    Raises:
        EngineError: an engine that was asked for cannot be used here.
    """
    _check_engines(request.project.settings.engines)
    teller.tell("step", "load the predictor")
    outside = OutsideFiles()
    loaded, predictor = load_predictor(request.project)
    questions = questions_of(request.project)
    teller.tell("step", f"answer {len(request.project.samples)} samples")
    # Once unwatched: what is loaded lazily is loaded now.
    first = answer_questions(predictor, loaded, questions)
    outside.stop()
    teller.tell("outside", outside.stamps(request.project.folder))
    opened: list[Any] = []
    names: list[str] = []
    seen: set[int] = set()
    packages: set[str] = set()
    while True:
        answers: list[Any] = []
        modules = capture_modules(
            predictor,
            loaded.module,
            request.project.folder,
            partial(_answer_into, answers, predictor, loaded, questions),
            opened,
        )
        if not opened:
            _compare_runs(teller, questions, first, answers)
        new = [captured for captured in modules if id(captured.module) not in seen]
        seen |= {id(captured.module) for captured in new}
        packages |= {package for captured in new for package in packages_of(captured.module)}
        refused = _try_modules(request, teller, [each for each in new if not opened or is_worth_trying(each)], names)
        if not refused:
            break
        opened += refused
        teller.tell("step", "answer the samples again, to look into what was refused")
    teller.tell("versions", library_versions(packages))
    teller.tell("peak_mib", round(peak_mib(), 1))


def _check_engines(names: Sequence[str]) -> None:
    """One that was asked for by name and is not there is said at once, and not once for each module."""
    for name in set(names).difference(CompileSettings().engines):
        answer = find_engine(name).availability()
        if isinstance(answer, Missing):
            raise EngineError(f"engine {name!r} cannot be used here: {answer.reason}. Remedy: {answer.remedy}")


def _answer_into(answers: list[Any], predictor: object, loaded: Any, questions: Sequence[Any]) -> None:
    answers += answer_questions(predictor, loaded, questions)


def _compare_runs(teller: Teller, questions: Sequence[Any], first: Sequence[Any], second: Sequence[Any]) -> None:
    teller.tell("streaming", any(answer.streamed for answer in second))
    for question, before, after in zip(questions, first, second, strict=True):
        if before.body != after.body:
            text = "the predictor answers it differently each time, so its answer was not compared"
            teller.tell("notice", f"{question.name}: {text}")


def _try_modules(
    request: WorkRequest, teller: Teller, modules: Sequence[CapturedModule], names: list[str]
) -> list[Any]:
    """Try each module; ``names`` grows by theirs. Returns those to open: refused as a whole, and made of parts."""
    finished = {candidate.key: candidate for candidate in request.finished}
    refused = []
    for captured in modules:
        name = unique_name(captured.path, names)
        names.append(name)
        record = _record(captured, name)
        if captured.path in request.project.settings.leave_alone:
            teller.tell("module", replace(record, refused="compile.leave_alone says so"))
            continue
        if request.only is not None and captured.path != request.only:
            teller.tell("module", replace(record, refused=f"only {request.only} was asked for"))
            if request.only.startswith(captured.path):
                refused.append(captured.module)
            continue
        teller.tell("module", record)
        if record.refused is not None or not _try_module(request, teller, captured, record, finished):
            refused.append(captured.module)
    return [module for module in refused if has_parts(module)]


def has_parts(module: Any) -> bool:
    return any(next(child.parameters(), None) is not None for child in module.children())


def is_worth_trying(captured: CapturedModule) -> bool:
    """A part of an opened module: a single layer gains less than taking its call apart costs."""
    layers = [part for part in captured.module.modules() if next(part.parameters(recurse=False), None) is not None]
    return len(layers) > 1


def _try_module(
    request: WorkRequest,
    teller: Teller,
    captured: CapturedModule,
    record: ModuleRecord,
    finished: dict[str, Candidate],
) -> bool:
    """Whether a graph came out that is equal to the module, faster or not."""
    found = False
    wrong: set[tuple[str, str]] = set()
    for engine, precision in _ways(request.project.settings):
        equal: list[Candidate] = []
        for signature_record, signature in zip(record.signatures, captured.signatures.values(), strict=True):
            variant_name = signature_record.variant
            if (engine.name, variant_name) in wrong:
                continue  # with less precision it is no better
            key = candidate_key(record.name, variant_name, label_of(engine.name, precision))
            candidate = finished.get(key) or _try(
                request, teller, captured, record, variant_name, signature, engine, precision
            )
            teller.tell("candidate", candidate)
            if candidate.attempt.refused_at in ("export", "verify"):
                wrong.add((engine.name, variant_name))
            else:
                found = True
            if candidate.variant is not None:
                equal.append(candidate)
        if equal:
            teller.tell("step", f"{record.path}: store its weights")
            teller.tell(
                "core", finish_core(captured, record.name, engine.name, equal, request.work_folder, request.threads)
            )
    return found


def _ways(settings: CompileSettings) -> Iterator[tuple[Engine, Precision]]:
    """The engines to try, each with fp32 first: that is what stays when less precision is refused."""
    for name in settings.engines:
        engine = find_engine(name)
        if engine.name != "eager":
            yield engine, "fp32"
            if settings.precision != "fp32" and isinstance(engine, ReducesPrecision):
                yield ReducedEngine(engine, settings.precision), settings.precision


def _try(
    request: WorkRequest,
    teller: Teller,
    captured: CapturedModule,
    record: ModuleRecord,
    variant_name: str,
    signature: CapturedSignature,
    engine: Engine,
    precision: Precision,
) -> Candidate:
    label = label_of(engine.name, precision)
    folder = request.work_folder / "candidates" / record.name / label / variant_name
    place = str(folder.relative_to(request.work_folder))
    shutil.rmtree(folder, ignore_errors=True)
    reproduce = reproduce_command(request.reproduce, record.path, engine.name, precision)
    key = cache_key(captured, signature, engine, precision, request.threads, request.project)
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
            {"key": candidate_key(record.name, variant_name, label), "stage": stage, "path": record.path},
        ),
        request.project.settings.tolerances.at_precision(precision),
    )
    candidate = Candidate(record.name, variant_name, replace(attempt, precision=precision), variant, place)
    keep_candidate(key, candidate, folder)
    return candidate


def reproduce_command(command: str, path: str, engine: str, precision: str) -> str:
    """What to type to see one candidate tried again."""
    reduced = "" if precision == "fp32" else f" --precision {precision}"
    return f"{command} --only {path!r} --engine {engine}{reduced} --dry-run --fresh"


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


def unique_name(path: str, taken: Collection[str]) -> str:
    """A short name for a path that is good for a folder and a Triton model: ``predictor.nets['a']`` is nets-a."""
    plain = re.sub(r"\W+", "-", path.removeprefix("predictor.")).strip("-").lower() or "core"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def main() -> None:
    """``python -m cortex_compile.compiler.workbench REQUEST.json PIPE``, where PIPE is a file descriptor."""
    with os.fdopen(int(sys.argv[2]), "w") as pipe:
        teller = Teller(pipe)
        value = json.loads(Path(sys.argv[1]).read_text())
        try:
            run(from_json(WorkRequest, value), teller)
        except (CortexCompileError, OSError) as problem:
            error = problem if isinstance(problem, CortexCompileError) else disk_full(problem)
            if error is None:
                raise
            teller.tell("error", {"type": type(error).__name__, "message": str(error)})
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
