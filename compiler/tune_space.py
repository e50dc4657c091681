"""Which configurations of a build are worth a trial on this machine: a pure function, the most promising first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cortex_compile.compiler.choose_dispatch import MOST_AT_ONCE, largest_batch, rows_of_shared_runs, sharing_dispatch
from cortex_compile.compiler.reconfigure_build import configuration_of, may_be_remote
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.python_backend.manifest import Manifest

__all__ = ["configurations_for"]

# Batches that are smaller than proven: less waiting for the others of a batch.
_SMALL_BATCH = 8


def configurations_for(manifest: Manifest, cpus: int) -> tuple[Configuration, ...]:
    """That of the build first, then the others that keep to what the author wrote and to what was proven.

    No more engine threads run than there are cores: more only take turns.
    """
    as_it_is = configuration_of(manifest)
    found = [*_local(manifest, cpus), *_remote(manifest, cpus)]
    written = manifest.tuning.written
    if "placement" in written:
        found = [each for each in found if each.placement == as_it_is.placement]
    found = [_as_written(each, written) for each in found]
    one_cache = manifest.models is not None and manifest.models.cache_size is not None
    if "processes_per_replica" in written or one_cache:
        found = [each for each in found if each.processes == as_it_is.processes]
    if as_it_is.dispatch == "threads":
        found = [_with_threads(each, as_it_is) for each in found if each.dispatch == "in turn"]
    elif not _turn_is_proven(manifest):
        found = [each for each in found if each.dispatch == "in turn"]
    return tuple(dict.fromkeys((as_it_is, *found)))


def _as_written(found: Configuration, written: dict[str, Any]) -> Configuration:
    threads = written.get("engine_threads", found.engine_threads)
    if found.placement == "local":
        return replace(found, engine_threads=threads)
    instances, batch = written.get("instances", found.core_instances), written.get("max_batch", found.max_batch)
    return replace(found, engine_threads=threads, core_instances=instances, max_batch=batch)


def _turn_is_proven(manifest: Manifest) -> bool:
    return manifest.dispatch is not None and manifest.dispatch.turn_refused is None


def _with_threads(found: Configuration, as_it_is: Configuration) -> Configuration:
    return replace(found, dispatch="threads", at_once=as_it_is.at_once)


def _local(manifest: Manifest, cpus: int) -> Iterator[Configuration]:
    locally = [replace(core, placement="local") for core in manifest.cores]
    rows = rows_of_shared_runs(locally)
    beside = any(
        core.shared_run is not None and (core.threads == 1 or core.shared_run.side_by_side_from is not None)
        for core in locally
    )
    for processes, threads in _shares(cpus):
        if rows > 1:
            shared = sharing_dispatch(rows, threads)
            sharing = Configuration("local", processes, threads, "passed turn", shared.threads, shared_rows=rows)
            if threads > 1 and beside:
                yield replace(sharing, side_by_side=True)
            yield sharing
        yield Configuration("local", processes, threads, "in turn", 1)
        if any(core.call_ms > 1.0 for core in manifest.cores):
            # As many calls as there are cores for, and a request in Python meanwhile.
            yield Configuration("local", processes, threads, "passed turn", 1 + max(1, cpus // (processes * threads)))


def _remote(manifest: Manifest, cpus: int) -> Iterator[Configuration]:
    cores = [core for core in manifest.cores if may_be_remote(core)]
    if not cores:
        return
    largest = largest_batch(cores)
    batches: list[int | None] = [None] if largest > 1 else [0]
    if largest > _SMALL_BATCH:
        batches.append(_SMALL_BATCH)
    for instances, threads in _shares(cpus):
        for processes in _processes(cpus):
            for batch in batches:
                at_once = max(2, min(MOST_AT_ONCE, 2 * (batch or largest)))
                yield Configuration("remote", processes, threads, "passed turn", at_once, instances, batch)
        yield Configuration("remote", cpus, threads, "in turn", 1, instances, batches[0])


def _shares(cpus: int) -> Iterator[tuple[int, int]]:
    """(how many engines side by side, threads of each) that take all cores, and one engine of one thread."""
    counts = sorted({1, *(2**power for power in range(1, cpus.bit_length()) if 2**power <= cpus), cpus}, reverse=True)
    for threads in sorted(counts):
        yield max(1, cpus // threads), threads
    if cpus > 1:
        yield 1, 1


def _processes(cpus: int) -> tuple[int, ...]:
    """Of the predictor, where its modules run elsewhere: its own Python takes a core or less."""
    return tuple(sorted({1, min(2, cpus)}))
