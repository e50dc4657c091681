"""Plans for several kinds of GPU in one build: those that an earlier compile into the same folder left are kept.

A TensorRT plan runs on GPUs of one compute capability alone. Compile on one machine, take the build to another and
compile into it there: Triton then takes the plan of the GPU that it finds, by ``cc_model_filenames`` of config.pbtxt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortex_compile.compiler.hard_links import link_or_copy
from cortex_compile.compiler.write_build import finish_build
from cortex_compile.errors import BuildError
from cortex_compile.python_backend.manifest import Core, Manifest, check_build
from cortex_compile.python_backend.names import is_file_name

__all__ = ["keep_plans_of_other_gpus", "kept_plans_in_words"]

_CONFIGS = ("config.pbtxt", "configs/gpu.pbtxt")
_CAPABILITY = re.compile(r"\d+\.\d+")
_KEPT = re.compile(r"model-(\d+\.\d+)\.plan")
# Of ``compiled_with``: what may differ from one machine to the next.
_GPU = ("gpu", "compute_capability")


def keep_plans_of_other_gpus(manifest: Manifest, build: Path, earlier: Path) -> Manifest:
    """Link into ``build`` the plans of ``earlier`` for other GPUs, and name them in its configs; returns its manifest.

    Only those that compute the same: of the same project and weights, and made by the same versions. An ``earlier``
    that is no whole build, or is none at all, has none.
    """
    ours = _remote_plans(manifest)
    if not ours:
        return manifest
    try:
        old = check_build(earlier)
    except BuildError:
        return manifest
    if _made_from(old) != _made_from(manifest):
        return manifest
    repository, there = build / "model_repository", earlier / "model_repository"
    kept = [
        _keep(_plans_in(there / theirs, _capability(old)), repository / model, _capability(manifest))
        for core in _remote_plans(old)
        for model, theirs in _models_of_the_same(core, ours)
    ]
    return finish_build(manifest, build) if any(kept) else manifest


def kept_plans_in_words(manifest: Manifest, core: Core) -> tuple[str, ...]:
    """For the report: nothing, or the one sentence."""
    folders = {f"{variant.graph}/1" for variant in core.variants if core.placement == "remote"}
    names = [file.rpartition("/") for file in manifest.files]
    found = {kept[1] for folder, _, name in names if folder in folders and (kept := _KEPT.fullmatch(name))}
    if not found:
        return ()
    return (f"plans of earlier compiles are kept, for GPUs of compute capability {', '.join(sorted(found))}",)


def _remote_plans(manifest: Manifest) -> list[Core]:
    return [core for core in manifest.cores if core.engine == "tensorrt" and core.placement == "remote"]


def _made_from(manifest: Manifest) -> tuple[Any, ...]:
    """What a plan's answers rest on besides its module, and how close to eager they were asked to be."""
    project = f"{manifest.name}/1/project/"
    return (
        {name: version for name, version in manifest.compiled_with.items() if name not in _GPU},
        {file: sha256 for file, sha256 in manifest.files.items() if file.startswith(project)},
        (manifest.predictor, manifest.config, manifest.env, manifest.python_path),
        (manifest.tuning.absolute_tolerance, manifest.tuning.relative_tolerance),
    )


def _proven_of(core: Core) -> tuple[Any, ...]:
    variants = tuple(replace(variant, graph="") for variant in core.variants)
    module = (core.name, core.path, core.class_name, core.structure_sha256, core.weights_sha256)
    return *module, core.attributes, core.globals, core.precision, variants


def _models_of_the_same(old: Core, cores: list[Core]) -> Iterator[tuple[str, str]]:
    """The Triton model of each variant, and what it is called in the earlier build."""
    for core in cores:
        if _proven_of(core) == _proven_of(old):
            graphs = [[variant.graph for variant in each.variants] for each in (core, old)]
            yield from zip(*graphs, strict=True)


def _capability(manifest: Manifest) -> str:
    return manifest.compiled_with.get("compute_capability", "")


def _plans_in(model: Path, own: str) -> dict[str, Path]:
    """By compute capability; ``own`` is that of the GPU which the model was compiled on."""
    config = _read_config(model / "config.pbtxt")
    names = {**config.cc_model_filenames, own: config.default_model_filename}
    return {
        capability: model / "1" / name
        for capability, name in names.items()
        if _CAPABILITY.fullmatch(capability) and is_file_name(name) and (model / "1" / name).is_file()
    }


def _keep(plans: dict[str, Path], model: Path, own: str) -> bool:
    """Whether there was one to keep. Where the model's own GPU is not known, any could be for it."""
    others = {capability: plan for capability, plan in plans.items() if own and capability != own}
    for capability, plan in others.items():
        link_or_copy(plan, model / "1" / f"model-{capability}.plan")
    for file in _CONFIGS if others else ():
        config = _read_config(model / file)
        for capability in others:
            config.cc_model_filenames[capability] = f"model-{capability}.plan"
        (model / file).write_text(_text_of(config))
    return bool(others)


def _read_config(file: Path) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())


def _text_of(config: Any) -> str:
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))
