"""The graphs of one module and one engine brought together: one folder, one weights file, one manifest record."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cortex_compile.backends.onnx_weights import share_weights
from cortex_compile.backends.weights_file import WeightsFile
from cortex_compile.compiler.artifacts import Candidate, ChosenCore, label_of
from cortex_compile.compiler.capture_modules import CapturedModule
from cortex_compile.compiler.read_attributes import attributes_read
from cortex_compile.python_backend.fingerprint import class_name, structure_sha256, weights_sha256
from cortex_compile.python_backend.globals_read import globals_read
from cortex_compile.python_backend.manifest import Core, Variant

WEIGHTS_FILE = "weights.bin"


def finish_core(
    captured: CapturedModule,
    name: str,
    engine: str,
    candidates: Sequence[Candidate],
    work_folder: Path,
    threads: int,
) -> ChosenCore:
    """Lay out what a build holds of this core, in a folder below ``cores/NAME`` of the work folder."""
    precision = candidates[0].attempt.precision
    folder = work_folder / "cores" / name / label_of(engine, precision)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = WeightsFile(folder / WEIGHTS_FILE)
    variants: list[Variant] = []
    for candidate in candidates:
        assert candidate.variant is not None  # only graphs that are equal and faster come here
        exported = work_folder / candidate.folder / candidate.variant.graph
        graph = f"{candidate.variant_name}{exported.suffix}"
        if exported.suffix == ".onnx":
            share_weights(exported, folder / graph, weights)
        else:
            shutil.copyfile(exported, folder / graph)
        variants.append(replace(candidate.variant, graph=graph))
    core = Core(
        name=name,
        path=captured.path,
        class_name=class_name(captured.module),
        structure_sha256=structure_sha256(captured.module),
        weights_sha256=weights_sha256(captured.module),
        attributes=attributes_read(captured),
        engine=engine,
        placement="local",
        threads=threads,
        weights_file=WEIGHTS_FILE,
        parameters=weights.add_parameters(captured.module),
        variants=tuple(variants),
        precision=precision,
        globals=globals_read(captured.module),
    )
    return ChosenCore(core, folder)
