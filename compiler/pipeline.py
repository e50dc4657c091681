"""The stages in order: load, capture, export, verify, measure (in a child process), choose, write, rehearse."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from cortex_compile.backends.protocol import ReducesPrecision
from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import Choice, Project, Rehearsal, Report, Trial
from cortex_compile.compiler.build_report import build_report, with_gpu_schedule
from cortex_compile.compiler.check_class import check_class
from cortex_compile.compiler.choose_dispatch import answered_in_execute, choose_dispatch, why_not_to_ask
from cortex_compile.compiler.choose_engines import choose_engines, without_reduced_precision
from cortex_compile.compiler.earlier_build import inputs_sha256, remember_build
from cortex_compile.compiler.isolation import run_child
from cortex_compile.compiler.other_work import OtherWork
from cortex_compile.compiler.plans_of_other_gpus import keep_plans_of_other_gpus
from cortex_compile.compiler.predict_kind import may_stream
from cortex_compile.compiler.project_notices import has_nvidia_gpu
from cortex_compile.compiler.publish_build import publish, work_folder
from cortex_compile.compiler.rehearse import RehearsalRequest
from cortex_compile.compiler.report import write_report
from cortex_compile.compiler.report_words import answer_difference_in_words
from cortex_compile.compiler.run_workbench import run_workbench
from cortex_compile.compiler.write_build import write_build, write_dispatch
from cortex_compile.errors import CortexCompileError, UsageError
from cortex_compile.python_backend.manifest import read_manifest
from cortex_compile.python_backend.records import from_json

Tell = Callable[[str], None]

REHEARSAL_TIMEOUT_S = 1800.0
# Of a whole predictor, over its samples; between this and 1 the two cannot be told apart.
SLOWER = 0.95


_STREAMS = (
    "Its answers may be streamed. In Triton it is a decoupled model: gRPC's stream can call it, plain infer cannot"
    " (docs/streaming.md)."
)


def compile_predictor(
    project: Project, output: Path, *, command: str, only: str | None, fresh: bool, dry_run: bool, tell: Tell
) -> Report:
    """Compile one API into the build folder ``output``, which changes whole or not at all.

    Args:
        command: what was typed, for the report.
        only: the path of the one module to try; the others stay eager.
        fresh: try everything again, whatever an earlier compile found.
        dry_run: do everything and write nothing.
        tell: called with a line for people as each step starts.

    Raises:
        PredictorError: the predictor does not load, or does not answer a sample.
        ProjectError: ``output`` cannot be written.
        UsageError: a precision or device that no engine of this release compiles for.
    """
    _check_settings(project)
    inputs = inputs_sha256(project, only)
    started = time.monotonic()
    others = OtherWork()
    with _work_folder(output, dry_run) as work:
        trial = _try_everything(project, work, command, only, fresh, tell)
        tell("write the build")
        build = work / "build"
        choices: tuple[Choice, ...] = ()
        rehearsal = None
        if project.settings.compile:
            trial, choices, rehearsal = _write_until_equal(project, trial, build, work, tell)
        else:
            _write(project, trial, choices, build)
        busy = others.notice() if project.settings.compile else None
        said = [_STREAMS if _streams(project, trial) else None, busy]
        project = replace(project, notices=(*project.notices, *(notice for notice in said if notice is not None)))
        cores = [choice.core.core for choice in choices if choice.core is not None]
        dispatch = choose_dispatch(project, cores, _turn_refused(project, rehearsal))
        took_ms = [sample.compiled_p50_ms for sample in rehearsal.samples] if rehearsal is not None else []
        dispatch = answered_in_execute(dispatch, project, took_ms, streams=_streams(project, trial))
        write_dispatch(build, dispatch)
        manifest = keep_plans_of_other_gpus(read_manifest(build / "manifest.json"), build, output)
        report = build_report(project, trial, choices, rehearsal, dispatch, command, time.monotonic() - started)
        report = with_gpu_schedule(report, project.settings, manifest)
        write_report(report, build)
        if not dry_run:
            publish(build, output)
            remember_build(output, inputs, trial.outside)
    return report


def _check_settings(project: Project) -> None:
    settings = project.settings
    if settings.device == "cuda":
        if not has_nvidia_gpu():
            raise UsageError("device 'cuda': no NVIDIA GPU is seen on this machine; leave it out or say cpu")
        if "tensorrt" not in settings.engines:
            raise UsageError("device 'cuda': of the engines, tensorrt alone compiles for a GPU; add --engine tensorrt")
    if settings.precision != "fp32" and not any(
        isinstance(find_engine(name), ReducesPrecision) for name in settings.engines
    ):
        raise UsageError(
            f"precision {settings.precision!r}: none of the engines ({', '.join(settings.engines)}) has less than fp32;"
            " leave it out or name onnxruntime with --engine"
        )


@contextmanager
def _work_folder(output: Path, dry_run: bool) -> Iterator[Path]:
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="cortex-compile-") as folder:
            yield Path(folder)
    else:
        with work_folder(output) as folder:
            yield folder


def _try_everything(project: Project, work: Path, command: str, only: str | None, fresh: bool, tell: Tell) -> Trial:
    if not project.settings.compile:
        tell("import the predictor")
        check_class(project, work)
        return Trial((), (), (), {})
    shared = max(1, len(os.sched_getaffinity(0)) // project.processes_per_replica)
    threads = project.settings.engine_threads or shared
    return run_workbench(project, work, threads, command, only, fresh, tell)


def _write_until_equal(
    project: Project, trial: Trial, build: Path, work: Path, tell: Tell
) -> tuple[Trial, tuple[Choice, ...], Rehearsal]:
    """Rehearse what was written; if the predictor answers otherwise than eager, write it again with more caution.

    A core that does not come up goes by itself. If answers differ, what computes with less than fp32 goes first, since
    it is compared nowhere else; then all cores.
    """
    absent: dict[str, str] = {}
    while True:
        choices = choose_engines(trial, project)
        for name, reason in absent.items():
            choices = _without({name}, choices, reason)
        _write(project, trial, choices, build)
        tell("rehearse: answer the samples eager and from the build")
        rehearsal = _rehearse(project, build, work)
        not_up = {core: state for core, state in rehearsal.states.items() if state != "compiled"}
        if not_up:
            absent |= {core: f"it did not come up from the build: {state}" for core, state in not_up.items()}
            tell(f"{', '.join(not_up)} did not come up from the build; writing it again without")
            continue
        problem = _problem(rehearsal)
        if problem is None:
            return trial, choices, rehearsal
        if not any(choice.core is not None and choice.core.core.precision != "fp32" for choice in choices):
            break
        tell(f"{problem}; going back to fp32")
        trial = without_reduced_precision(trial, problem)
    tell(f"{problem}; writing the build without compiled modules")
    choices = _without({choice.core.core.name for choice in choices if choice.core is not None}, choices, problem)
    _write(project, trial, choices, build)
    return trial, choices, _rehearse(project, build, work)


def _without(names: Collection[str], choices: tuple[Choice, ...], reason: str) -> tuple[Choice, ...]:
    return tuple(
        replace(choice, engine="eager", placement="local", core=None, reason=f"stays eager: {reason}")
        if choice.core is not None and choice.core.core.name in names
        else choice
        for choice in choices
    )


def _problem(rehearsal: Rehearsal) -> str | None:
    for sample in rehearsal.samples:
        if not sample.answers_equal:
            what = f": {answer_difference_in_words(sample.worst)}" if sample.worst is not None else ""
            return f"the predictor answered {sample.name} otherwise with the compiled modules than without{what}"
    speedups = [sample.speedup for sample in rehearsal.samples]
    if rehearsal.states and statistics.geometric_mean(speedups) < SLOWER:
        return f"the predictor was slower with the compiled modules ({statistics.geometric_mean(speedups):.2f}×)"
    return None


def _write(project: Project, trial: Trial, choices: tuple[Choice, ...], build: Path) -> None:
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    cores = [choice.core for choice in choices if choice.core is not None]
    write_build(
        project,
        cores,
        lambda engine, threads: find_engine(engine).triton_settings(threads),
        build,
        trial.versions,
        streaming=_streams(project, trial),
    )


def _turn_refused(project: Project, rehearsal: Rehearsal | None) -> str | None:
    if rehearsal is None:
        return why_not_to_ask(project) or "nothing of it is compiled"
    return rehearsal.turn_refused


def _streams(project: Project, trial: Trial) -> bool:
    # A batch is answered whole: predict returns a list.
    if project.server_side_batching is not None:
        return False
    if project.streaming is not None:
        return project.streaming
    return trial.streaming or may_stream(project.folder / project.predictor)


def _rehearse(project: Project, build: Path, work: Path) -> Rehearsal:
    request = RehearsalRequest(project, build)
    child = run_child("cortex_compile.compiler.rehearse", request, work / "rehearsal.json", REHEARSAL_TIMEOUT_S)
    with closing(child) as messages:
        for message in messages:
            if isinstance(message, dict):
                return from_json(Rehearsal, message["rehearsal"])
            raise CortexCompileError(f"{project.name}: the rehearsal of the build did not end well: {message.reason}")
    raise AssertionError("a child always tells how it ended")
