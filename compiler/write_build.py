"""Write the build folder: the model repository that Triton serves, and the manifest that says what is in it."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import ChosenCore, Project
from cortex_compile.compiler.choose_dispatch import choose_dispatch, why_not_to_ask
from cortex_compile.compiler.config_pbtxt import OnGpu, Queue, predictor_config
from cortex_compile.compiler.core_configs import configs_of_core
from cortex_compile.compiler.gpu_memory import gpu_memory_of
from cortex_compile.compiler.gpu_schedule import queue_delay_us
from cortex_compile.compiler.hard_links import link_or_copy
from cortex_compile.compiler.project_files import project_files
from cortex_compile.compiler.read_requirements import installed_requirement
from cortex_compile.errors import EngineError, ProjectError
from cortex_compile.python_backend.manifest import (
    MANIFEST_VERSION,
    Core,
    Dispatch,
    Manifest,
    TuningRules,
    Variant,
    read_manifest,
    sha256_of,
    write_manifest,
)
from cortex_compile.python_backend.names import is_file_name

__all__ = ["write_both_manifests", "write_build", "write_dispatch"]

SettingsOf = Callable[[str, int], TritonSettings | None]

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
        _copy_runtime(version_folder)
        _copy_project(project, version_folder / "project")
        written = tuple(_write_core(core, project, settings_of, repository) for core in cores)
        manifest = replace(
            _manifest_of(project, written, compiled_with),
            streaming=streaming,
            gpu_memory=tuple(gpu_memory_of(written, repository, project.settings.gpu)),
        )
        (repository / project.name / "config.pbtxt").write_text(predictor_config(manifest))
        manifest = replace(manifest, files=_sha256_of_files(repository))
        write_both_manifests(manifest, folder)
        _make_readable(folder)
    except OSError as error:
        raise ProjectError(f"{error.filename or folder}: cannot be put into the build ({error.strerror}).") from error
    return manifest


def write_dispatch(build: Path, dispatch: Dispatch) -> None:
    """How the processes of a written build answer requests."""
    write_both_manifests(replace(read_manifest(build / "manifest.json"), dispatch=dispatch), build)


def write_both_manifests(manifest: Manifest, build: Path) -> None:
    """The same bytes for the runtime and for everybody else."""
    inner = build / "model_repository" / manifest.name / "1" / "manifest.json"
    write_manifest(manifest, inner)
    shutil.copyfile(inner, build / "manifest.json")


def _copy_runtime(version_folder: Path) -> None:
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


def _write_core(chosen: ChosenCore, project: Project, settings_of: SettingsOf, repository: Path) -> Core:
    core = chosen.core
    _check_is_file_name(core.name)
    local = f"cores/{core.name}"
    own_folder = repository / project.name / "1" / local
    own_folder.mkdir(parents=True)
    variants = []
    for index, variant in enumerate(core.variants):
        files = (variant.graph, *_external_data_of(chosen.folder / variant.graph))
        if core.placement == "remote":
            model = f"{project.name}--{core.name}" + (f"--{variant.name}" if index else "")
            settings = settings_of(core.engine, core.threads)
            if settings is None:
                raise EngineError(f"{core.name}: Triton has no backend for {core.engine!r}. Place the core local.")
            _write_remote_model(repository / model, variant, files, chosen.folder, settings, project)
            variants.append(replace(variant, graph=model))
        else:
            for name in files:
                _link(chosen.folder / name, own_folder / name)
            variants.append(replace(variant, graph=f"{local}/{variant.graph}"))
    if core.weights_file is not None:
        _link(chosen.folder / core.weights_file, own_folder / core.weights_file)
    weights_file = None if core.weights_file is None else f"{local}/{core.weights_file}"
    return replace(core, variants=tuple(variants), weights_file=weights_file)


def _write_remote_model(
    model: Path, variant: Variant, files: Sequence[str], source: Path, settings: TritonSettings, project: Project
) -> None:
    _check_is_file_name(model.name)
    version_folder = model / "1"
    version_folder.mkdir(parents=True)
    _link(source / files[0], version_folder / settings.model_filename)
    for name in files[1:]:
        # A graph names its external data by file name, so that name stays.
        _link(source / name, version_folder / name)
    (model / "configs").mkdir()
    queue = Queue(project.max_replica_concurrency, project.settings.request_timeout_s)
    schedule = project.settings.gpu
    on_gpu = OnGpu(schedule, queue_delay_us(schedule, project.settings.objective))
    for name, config in configs_of_core(model.name, variant, settings, queue, on_gpu).items():
        (model / name).write_text(config)


def _external_data_of(graph: Path) -> tuple[str, ...]:
    """The files beside an ONNX graph that hold its weights."""
    if graph.suffix != ".onnx":
        return ()
    import onnx

    tensors = _tensors_of(onnx.load(graph, load_external_data=False).graph)
    names = sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})
    for name in names:
        _check_is_file_name(name)
    return tuple(names)


def _tensors_of(graph: Any) -> Iterator[Any]:
    """The constants of a graph and of the graphs inside it (the branches of an If)."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors_of(inner)


def _check_is_file_name(name: str) -> None:
    if not is_file_name(name):
        raise ValueError(f"{name!r} is not the name of a file in a build")


def _link(source: Path, target: Path) -> None:
    """Variants of a core share files."""
    if not target.exists():
        link_or_copy(source, target)


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
    tolerance = project.settings.tolerances.float32
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
        tuning=TuningRules(project.settings.objective, project.written, tolerance.absolute, tolerance.relative),
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
