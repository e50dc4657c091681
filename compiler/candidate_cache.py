"""What an earlier compile found about a candidate, kept as long as nothing that it rests on has changed.

The key is a sha256 over everything that the graph, its proof and its timings depend on: the module's classes with
their source, structure, weights and the attributes that forward reads; the recorded calls; the engine; the versions;
the machine. A refusal is kept too: it rests on the same things.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from cortex_compile import backends, compiler, model_repo_template, python_backend
from cortex_compile.backends.protocol import Engine
from cortex_compile.cache_folder import cache_folder
from cortex_compile.compiler.artifacts import Candidate, Project
from cortex_compile.compiler.capture_modules import CapturedModule, CapturedSignature
from cortex_compile.compiler.hard_links import link_or_copy
from cortex_compile.compiler.library_versions import library_versions
from cortex_compile.compiler.read_attributes import attributes_read
from cortex_compile.python_backend.fingerprint import bytes_of, class_name, structure_sha256, weights_sha256
from cortex_compile.python_backend.globals_read import globals_read
from cortex_compile.python_backend.records import from_json, to_json

# Of the graphs kept; the oldest go first.
LARGEST_CACHE_BYTES = 4 * 2**30

_FOUND = "candidate.json"


def cache_key(
    captured: CapturedModule,
    signature: CapturedSignature,
    engine: Engine,
    precision: str,
    threads: int,
    project: Project,
) -> str:
    digest = hashlib.sha256()
    for part in _parts(captured, signature, engine, precision, threads, project):
        digest.update(part if isinstance(part, bytes | memoryview) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def restore_candidate(key: str, folder: Path) -> Candidate | None:
    """The candidate kept under ``key``, with its files linked into ``folder``, which must not exist; or None."""
    kept = _place(key)
    try:
        candidate = from_json(Candidate, json.loads((kept / _FOUND).read_text()))
        _link_tree(kept / "files", folder)
    except (OSError, ValueError):  # not there, half removed by another process, or of another release
        shutil.rmtree(folder, ignore_errors=True)
        return None
    os.utime(kept)
    return candidate


def keep_candidate(key: str, candidate: Candidate, folder: Path) -> None:
    """Keep a candidate and the files in ``folder``. A cache that cannot be written costs time, nothing else."""
    place = _place(key)
    temporary = place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        if candidate.variant is not None:
            _link_tree(folder, temporary / "files")
        else:
            (temporary / "files").mkdir()
        (temporary / _FOUND).write_text(json.dumps(to_json(candidate)))
        shutil.rmtree(place, ignore_errors=True)
        temporary.rename(place)
        _remove_oldest(place.parent)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)


def renamed(candidate: Candidate, module: str, variant: str, reproduce: str, folder: str) -> Candidate:
    """A kept candidate under the names that this compile gives it."""
    record = None if candidate.variant is None else replace(candidate.variant, name=variant)
    attempt = replace(candidate.attempt, reproduce=reproduce)
    return Candidate(module, variant, attempt, record, folder)


def _parts(
    captured: CapturedModule,
    signature: CapturedSignature,
    engine: Engine,
    precision: str,
    threads: int,
    project: Project,
) -> Iterator[Any]:
    yield from our_sources()
    yield from (engine.name, precision, threads, project.processes_per_replica, project.settings.tolerances)
    yield from (platform.machine(), _processor_flags(), len(os.sched_getaffinity(0)))
    yield {name: version for name, version in library_versions().items() if name not in ("numpy", "transformers")}
    yield [_version_of(package) for package in engine.packages]
    module = captured.module
    yield from (
        class_name(module),
        structure_sha256(module),
        weights_sha256(module),
        to_json(attributes_read(captured)),
        to_json(globals_read(module)),
    )
    yield from (part.training for part in module.modules())
    yield from _sources(module, project.folder)
    yield from (signature.arguments_spec, signature.result_spec)
    for call in signature.calls:
        yield to_json((call.arguments.leaves, call.arguments.states, call.plan.leaves, call.plan.caches))
        for tensor in (*call.arguments.tensors, *call.outputs):
            yield from (tensor.dtype, tuple(tensor.shape), bytes_of(tensor))


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _sources(module: Any, project: Path) -> Iterator[bytes]:
    """The files that define the classes; all of the user's files where one of them is the user's or is patched."""
    files = set()
    patched = False
    for part in module.modules():
        patched = patched or "forward" in vars(part)
        try:
            files.add(Path(inspect.getfile(type(part))).resolve())
        except (OSError, TypeError):  # made at run time
            patched = True
    if patched or any(file.is_relative_to(project.resolve()) for file in files):
        files |= {file.resolve() for file in project.rglob("*.py")}
    for file in sorted(files):
        if file.is_file():
            yield file.read_bytes()


def our_sources() -> Iterator[bytes]:
    """What finds, proves, measures and serves is part of what a finding rests on."""
    for package in (backends, compiler, model_repo_template, python_backend):
        for file in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            yield file.read_bytes()


def _processor_flags() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "CPU implementer")):
            return line
    return ""


def _place(key: str) -> Path:
    return cache_folder() / "candidates" / key


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=link_or_copy)


def _remove_oldest(folder: Path) -> None:
    kept = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
    sizes = [sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) for entry in kept]
    total = sum(sizes)
    for entry, size in zip(kept[:-1], sizes[:-1], strict=True):
        if total <= LARGEST_CACHE_BYTES:
            break
        shutil.rmtree(entry, ignore_errors=True)
        total -= size
