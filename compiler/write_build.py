"""Write the build folder: the model repository that Triton serves, and the manifest that says what is in it."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import ChosenCore, Project
from cortex_compile.compiler.choose_dispatch import choose_dispatch, why_not_to_ask
from cortex_compile.compiler.config_pbtxt import OnGpu, Queue, predictor_config
from cortex_compile.compiler.gpu_memory import gpu_memory_of
from cortex_compile.compiler.gpu_schedule import queue_delay_us
from cortex_compile.compiler.project_files import project_files
from cortex_compile.compiler.read_requirements import installed_requirement
from cortex_compile.compiler.write_cores import Around, SettingsOf, write_core
from cortex_compile.errors import ProjectError
from cortex_compile.python_backend.manifest import (
    MANIFEST_VERSION,
    Core,
    Dispatch,
    Manifest,
    TuningRules,
    read_manifest,
    sha256_of,
    write_manifest,
)
from cortex_compile.python_backend.records import to_json

__all__ = ["copy_runtime", "finish_build", "write_both_manifests", "write_build", "write_dispatch"]

# form(max_part_size=…), which request.py uses, came with 0.44, and that asks for this python-multipart.
_RUNTIME_MINIMUM = {"starlette": ">=0.44", "python-multipart": ">=0.0.18"}


def write_build(
    project: Project,
    cores: Sequence[ChosenCore],
    settings_of: SettingsOf,
    folder: Path,
    compiled_with: Mapping[str, str],
    *,
    streaming: bool = False,
) -> Manifest:
    """Write a whole build into ``folder``, which is there and empty, and return its manifest.

    ``settings_of(engine, threads)`` says how Triton runs a remote core. Big files are linked, not copied, from the
    cores' folders, so those must not be written to afterwards. ``streaming`` makes the predictor's model decoupled.

    Raises:
        ProjectError: a file of the project cannot be read, or the disk is full; the file is named.
        EngineError: a core is placed remote whose engine Triton cannot run.
    """
    repository = folder / "model_repository"
    version_folder = repository / project.name / "1"
    version_folder.mkdir(parents=True)
    try:
        copy_runtime(version_folder)
        _copy_project(project, version_folder / "project")
        around = _around(project, settings_of)
        written = tuple(write_core(core, project.name, around, repository) for core in cores)
        manifest = replace(
            _manifest_of(project, written, compiled_with),
            streaming=streaming,
            gpu_memory=tuple(gpu_memory_of(written, repository, project.settings.gpu)),
        )
        manifest = finish_build(manifest, folder)
    except OSError as error:
        raise ProjectError(f"{error.filename or folder}: cannot be put into the build ({error.strerror}).") from error
    return manifest


def finish_build(manifest: Manifest, build: Path) -> Manifest:
    """Write the predictor's config and the manifests of a build whose other files are there; returns it as written.

    May be called again, when files have come.
    """
    repository = build / "model_repository"
    (repository / manifest.name / "config.pbtxt").write_text(predictor_config(manifest))
    files = _sha256_of_files(repository)
    files.pop(f"{manifest.name}/1/manifest.json", None)
    manifest = replace(manifest, files=files)
    write_both_manifests(manifest, build)
    _make_readable(build)
    return manifest


def _around(project: Project, settings_of: SettingsOf) -> Around:
    settings = project.settings
    delay_us = queue_delay_us(settings.gpu, settings.objective)
    queue = Queue(project.max_replica_concurrency, settings.request_timeout_s)
    return Around(settings_of, queue, OnGpu(settings.gpu, delay_us))


def write_dispatch(build: Path, dispatch: Dispatch) -> None:
    """How the processes of a written build answer requests."""
    write_both_manifests(replace(read_manifest(build / "manifest.json"), dispatch=dispatch), build)


def write_both_manifests(manifest: Manifest, build: Path) -> None:
    """The same bytes for the runtime and for everybody else."""
    inner = build / "model_repository" / manifest.name / "1" / "manifest.json"
    write_manifest(manifest, inner)
    shutil.copyfile(inner, build / "manifest.json")


def copy_runtime(version_folder: Path) -> None:
    template = importlib.resources.files("cortex_compile.model_repo_template") / "model.py"
    (version_folder / "model.py").write_bytes(template.read_bytes())
    runtime = version_folder / "_runtime"
    runtime.mkdir()
    for file in importlib.resources.files("cortex_compile.python_backend").iterdir():
        if file.name.endswith(".py"):
            (runtime / file.name).write_bytes(file.read_bytes())


def _copy_project(project: Project, target: Path) -> None:
    for name in project_files(project.folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project.folder / name, target / name)


def _make_readable(folder: Path) -> None:
    """For all, whatever the umask and the user's own files: in a container another user reads the build."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        wanted = 0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644
        if stat.S_IMODE(mode) != wanted:
            path.chmod(wanted)


def _sha256_of_files(repository: Path) -> dict[str, str]:
    paths = sorted(path for path in repository.rglob("*") if path.is_file())
    return {path.relative_to(repository).as_posix(): sha256_of(path) for path in paths}


def _manifest_of(project: Project, cores: tuple[Core, ...], compiled_with: Mapping[str, str]) -> Manifest:
    tolerance, limit_s = project.settings.tolerances.float32, project.settings.latency_limit_s
    return Manifest(
        version=MANIFEST_VERSION,
        name=project.name,
        endpoint=project.endpoint,
        predictor=project.predictor,
        config=project.config,
        env=project.env,
        python_path=project.python_path,
        log_level=project.log_level,
        processes_per_replica=project.processes_per_replica,
        threads_per_process=project.threads_per_process,
        max_replica_concurrency=project.max_replica_concurrency,
        requirements=_requirements_of(project, cores),
        cores=cores,
        compiled_with=dict(compiled_with),
        server_side_batching=project.server_side_batching,
        models=project.models,
        nan_as_null=project.nan_as_null,
        idempotent=project.idempotent,
        request_timeout_s=project.settings.request_timeout_s,
        max_body_bytes=project.settings.max_body_bytes,
        cluster=project.cluster,
        dispatch=choose_dispatch(project, cores, why_not_to_ask(project) or "it is not proven yet"),
        tuning=TuningRules(
            objective=project.settings.objective,
            latency_limit_ms=limit_s * 1000 if limit_s is not None else None,
            written=project.written,
            absolute_tolerance=tolerance.absolute,
            relative_tolerance=tolerance.relative,
            gpu=to_json(project.settings.gpu),
        ),
    )


def _requirements_of(project: Project, cores: Sequence[Core]) -> tuple[str, ...]:
    """The user's lines and the runtime's own packages.

    Numbers come out as they were compared where numpy, torch and the engines are exactly what is installed here. Of
    what reads requests and writes answers, whatever can do it will do.
    """
    wanted = ["numpy"]
    if cores:
        wanted.append("torch")
        engines = sorted({core.engine for core in cores})
        wanted += [package for engine in engines for package in find_engine(engine).packages]
    versions = {distribution: _installed_version(distribution) for distribution in wanted}
    own = {canonicalize_name(name): installed_requirement(name, found) for name, found in versions.items() if found}
    minimum = {name: SpecifierSet(text) for name, text in _RUNTIME_MINIMUM.items()}
    users = []
    for line in project.requirements:
        name = _distribution_of(line)
        if name in minimum:
            requirement = Requirement(line)
            requirement.specifier &= minimum.pop(name)
            users.append(str(requirement))
        elif name not in own:
            users.append(line)
    return (*users, *own.values(), *(f"{name}{specifier}" for name, specifier in minimum.items()))


def _installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _distribution_of(line: str) -> str | None:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return None
