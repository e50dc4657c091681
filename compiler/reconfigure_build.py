"""A finished build once more, served in another way: other placement, instances, threads, batches or dispatch."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import ChosenCore
from cortex_compile.compiler.config_pbtxt import OnGpu, Queue, why_not_remote
from cortex_compile.compiler.gpu_memory import gpu_memory_of
from cortex_compile.compiler.gpu_schedule import GpuSchedule, queue_delay_us
from cortex_compile.compiler.hard_links import link_or_copy
from cortex_compile.compiler.plans_of_other_gpus import keep_plans_of_other_gpus
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.compiler.write_build import copy_runtime, finish_build
from cortex_compile.compiler.write_cores import Around, external_data_of, write_core
from cortex_compile.python_backend.manifest import Core, Dispatch, Manifest, read_manifest
from cortex_compile.python_backend.records import from_json

__all__ = ["configuration_of", "copy_python", "may_be_remote", "reconfigure_build"]


def configuration_of(manifest: Manifest) -> Configuration:
    """What a build is served with. Where its modules differ, the first remote one speaks for all."""
    cores = sorted(manifest.cores, key=lambda core: core.placement != "remote")
    kept = manifest.dispatch or Dispatch("in turn", manifest.threads_per_process, None)
    core = cores[0]
    return Configuration(
        core.placement,
        manifest.processes_per_replica,
        core.threads,
        kept.kind,
        kept.threads,
        core.instances,
        core.max_batch,
        kept.shared_rows,
        kept.side_by_side,
    )


def may_be_remote(core: Core) -> bool:
    """Whether Triton can run it, and it is not called for every token."""
    if any(variant.result_caches for variant in core.variants):
        return False
    if find_engine(core.engine).triton_settings(core.threads) is None:
        return False
    return all(why_not_remote(variant) is None for variant in core.variants)


def reconfigure_build(build: Path, target: Path, configuration: Configuration) -> Manifest:
    """Write ``build`` into ``target``, which must not exist, to be served as ``configuration`` says.

    Big files are linked. The report is not copied.

    Raises:
        BuildError: ``build`` is not a build.
    """
    manifest = read_manifest(build / "manifest.json")
    old, new = build / "model_repository", target / "model_repository"
    version_folder = Path(manifest.name) / "1"
    copy_python(build, target, manifest)
    schedule = from_json(GpuSchedule, manifest.tuning.gpu)
    around = Around(
        lambda engine, threads: find_engine(engine).triton_settings(threads),
        Queue(manifest.max_replica_concurrency, manifest.request_timeout_s),
        OnGpu(schedule, queue_delay_us(schedule, manifest.tuning.objective)),
    )
    gathered = target / "gathered"
    cores = tuple(
        write_core(_configured(_gather(core, old, version_folder, gathered), configuration), manifest.name, around, new)
        for core in manifest.cores
    )
    shutil.rmtree(gathered, ignore_errors=True)
    was = manifest.dispatch
    changed = replace(
        manifest,
        cores=cores,
        processes_per_replica=configuration.processes,
        dispatch=Dispatch(
            configuration.dispatch,
            configuration.at_once,
            was.turn_refused if was is not None else None,
            configuration.shared_rows,
            configuration.side_by_side,
            in_execute=configuration.dispatch == "in turn" and was is not None and was.in_execute,
        ),
        gpu_memory=tuple(gpu_memory_of(cores, new, schedule)),
    )
    return keep_plans_of_other_gpus(finish_build(changed, target), target, build)


def copy_python(build: Path, target: Path, manifest: Manifest) -> None:
    """The project of a build, copied since a predictor may write into it, with the runtime of this release, which knows
    what this release writes into a manifest."""
    old, new = build / "model_repository", target / "model_repository"
    for name in manifest.files:
        if name.startswith(f"{manifest.name}/1/project/"):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(old / name, new / name)
    copy_runtime(new / manifest.name / "1")


def _gather(core: Core, repository: Path, version_folder: Path, gathered: Path) -> ChosenCore:
    """The files of a core in one folder, as they were before they were written into the build."""
    folder = gathered / core.name
    folder.mkdir(parents=True)
    weights = None
    if core.weights_file is not None:
        weights = Path(core.weights_file).name
        link_or_copy(repository / version_folder / core.weights_file, folder / weights)
    variants = []
    for variant in core.variants:
        source = repository / version_folder / variant.graph
        if core.placement == "remote":
            settings = find_engine(core.engine).triton_settings(core.threads)
            assert settings is not None  # or it could not be remote
            source = repository / variant.graph / "1" / settings.model_filename
        graph = f"{variant.name}{source.suffix}"
        link_or_copy(source, folder / graph)
        for name in external_data_of(source):
            if not os.path.lexists(folder / name):
                link_or_copy(source.parent / name, folder / name)
        variants.append(replace(variant, graph=graph))
    return ChosenCore(replace(core, variants=tuple(variants), weights_file=weights), folder)


def _configured(chosen: ChosenCore, configuration: Configuration) -> ChosenCore:
    core = chosen.core
    remote = configuration.placement == "remote" and may_be_remote(core)
    shared = core.shared_run
    if configuration.side_by_side and shared is not None and core.threads == 1:
        # Proven with one thread, and nothing to measure beside it: from one call for each on, which the trial judges.
        shared = replace(shared, side_by_side_from=shared.side_by_side_from or 1)
    core = replace(
        core,
        placement="remote" if remote else "local",
        threads=configuration.engine_threads,
        instances=configuration.core_instances if remote else 1,
        max_batch=configuration.max_batch if remote else None,
        shared_run=shared,
    )
    return replace(chosen, core=core)
