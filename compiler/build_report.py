"""Everything that was found, gathered into the report."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cortex_compile import __version__
from cortex_compile.compiler.artifacts import (
    REPORT_VERSION,
    Choice,
    ChosenCore,
    CompileSettings,
    ModuleRecord,
    ModuleReport,
    Project,
    Rehearsal,
    Report,
    SignatureReport,
    Trial,
)
from cortex_compile.compiler.gpu_schedule import gpu_memory_in_words, schedule_in_words
from cortex_compile.compiler.plans_of_other_gpus import kept_plans_in_words
from cortex_compile.python_backend.manifest import Dispatch, Manifest


def build_report(
    project: Project,
    trial: Trial,
    choices: tuple[Choice, ...],
    rehearsal: Rehearsal | None,
    dispatch: Dispatch,
    command: str,
    seconds: float,
) -> Report:
    return Report(
        version=REPORT_VERSION,
        name=project.name,
        predictor=project.predictor,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        command=command,
        machine=_describe_machine(trial),
        notices=(*project.notices, *trial.notices),
        modules=tuple(
            _module_report(module, choice, trial) for module, choice in zip(trial.modules, choices, strict=True)
        ),
        samples=rehearsal.samples if rehearsal else (),
        memory=rehearsal.memory if rehearsal else None,
        peak_mib=_peaks(trial, rehearsal),
        dispatch=dispatch,
    )


def with_gpu_schedule(report: Report, settings: CompileSettings, manifest: Manifest) -> Report:
    """What the report says of each remote core: how it is served where there are GPUs, and what it takes of them."""
    schedule = schedule_in_words(settings.gpu, settings.objective)
    memory = {need.model: gpu_memory_in_words(need) for need in manifest.gpu_memory}
    lines = {
        core.name: (
            schedule,
            *(memory[variant.graph] for variant in core.variants),
            *kept_plans_in_words(manifest, core),
        )
        for core in manifest.cores
        if core.placement == "remote"
    }
    return replace(
        report, modules=tuple(replace(module, on_gpu=lines.get(module.name, ())) for module in report.modules)
    )


def _module_report(module: ModuleRecord, choice: Choice, trial: Trial) -> ModuleReport:
    signatures = tuple(
        SignatureReport(
            signature.variant,
            signature.inputs,
            signature.count,
            tuple(
                candidate.attempt
                for candidate in trial.candidates
                if candidate.module == module.name and candidate.variant_name == signature.variant
            ),
        )
        for signature in module.signatures
    )
    return ModuleReport(
        name=module.name,
        path=module.path,
        class_name=module.class_name,
        called_from=module.called_from,
        calls=module.count,
        parameters=module.parameters,
        parameter_bytes=module.parameter_bytes,
        engine=choice.engine,
        placement=choice.placement,
        decision=choice.reason,
        signatures=signatures,
        disk_bytes=_disk_bytes(choice.core) if choice.core is not None else 0,
        precision=choice.core.core.precision if choice.core is not None else "fp32",
    )


def _disk_bytes(core: ChosenCore) -> int:
    """Of the graphs that are used and what lies beside them; a file of several names counts once."""
    files = {file.stat().st_ino: file.stat().st_size for file in core.folder.rglob("*") if file.is_file()}
    return sum(files.values())


def _peaks(trial: Trial, rehearsal: Rehearsal | None) -> dict[str, float]:
    peaks = {"trying engines": trial.peak_mib, "rehearsal": rehearsal.peak_mib if rehearsal else 0.0}
    return {what: mib for what, mib in peaks.items() if mib}


def _describe_machine(trial: Trial) -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.machine()}",
        "cortex-compile": __version__,
        **trial.versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
