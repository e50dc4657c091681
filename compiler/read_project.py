"""From the path of a predictor to its APIs: cortex.yaml, samples, environment, requirements and our own settings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import CompileSettings, Project, Sample
from cortex_compile.compiler.cluster_settings import cluster_settings
from cortex_compile.compiler.cortex_yaml import LocatedApi
from cortex_compile.compiler.cortex_yaml_schema import Api, Gpu, ToleranceByDtype
from cortex_compile.compiler.env_file import read_env_file
from cortex_compile.compiler.find_apis import YAML_SUFFIXES, FoundApis, choose_by_name, find_apis
from cortex_compile.compiler.gpu_schedule import GpuSchedule
from cortex_compile.compiler.mount_notices import mount_notices
from cortex_compile.compiler.project_files import project_files
from cortex_compile.compiler.project_notices import project_notices
from cortex_compile.compiler.read_models import read_models
from cortex_compile.compiler.read_requirements import read_requirements
from cortex_compile.compiler.read_samples import default_samples, read_listed_samples, read_sample
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.yaml_reader import YamlFile
from cortex_compile.compiler.yaml_values import check_endpoint, check_name
from cortex_compile.errors import ProjectError, UsageError
from cortex_compile.python_backend.manifest import BatchingSpec
from cortex_compile.python_backend.names import MAX_NAME_LENGTH
from cortex_compile.quantities import parse_duration_s, parse_quantity

__all__ = ["read_projects"]

# How compiled modules are served, which `tune` else searches.
_SERVING = ("engine_threads", "instances", "max_batch")


def read_projects(
    predictor: Path,
    *,
    config: Path | None,
    samples: Sequence[str],
    name: str | None,
    settings_overrides: Mapping[str, object],
) -> tuple[Project, ...]:
    """The APIs that a predictor file serves: those of cortex.yaml, or one named after the folder.

    In the place of the predictor a cortex.yaml may be given: then it is all of its APIs.

    ``settings_overrides`` are fields of ``CompileSettings`` that the command line sets; None leaves what cortex.yaml
    says. ``name`` picks one of several APIs, and renames a single one.

    Raises:
        UsageError: the predictor, ``config``, ``name`` or an engine cannot be.
        ProjectError: a file of the project is wrong; it is named with the line.
    """
    predictor = _check_predictor(predictor)
    if name is not None:
        try:
            check_name(name)
        except ValueError as error:
            raise UsageError(f"--name {name!r}: expected {error}.") from None
    found = find_apis(predictor, config)
    apis = choose_by_name(found.apis or (_default_api(predictor, found.config),), name)
    overrides = {key: value for key, value in settings_overrides.items() if value is not None}
    return tuple(_project_of(api, name or api.api.name, samples, overrides, found) for api in apis)


def _check_predictor(path: Path) -> Path:
    if os.path.isdir(path):
        inside = [path / name for name in ("predictor.py", "cortex.yaml") if (path / name).is_file()]
        hint = f" Did you mean {str(inside[0])!r}?" if inside else ""
        raise UsageError(f"{str(path)!r} is a folder, expected the Python file of a predictor.{hint}")
    if not os.path.isfile(path):  # nor can there be, of too long a name
        raise UsageError(f"{str(path)!r}: there is no such file, expected the Python file of a predictor.")
    if path.suffix not in (".py", *YAML_SUFFIXES):
        raise UsageError(
            f"{str(path)!r} is not a Python file, expected one that ends in .py, or a cortex.yaml for all of its APIs."
        )
    return Path(os.path.abspath(path))


def _default_api(predictor: Path, config: dict[str, Any] | None) -> LocatedApi:
    """What a predictor without a cortex.yaml is: an API named after its folder, with Cortex's defaults."""
    name = re.sub(r"[^a-z0-9]+", "-", predictor.parent.name.lower()).strip("-")
    name = name if name[:1].isalpha() else f"api-{name}"
    entry = {"type": "python", "path": predictor.name, "config": config}
    api = Api.model_validate({"name": name[:MAX_NAME_LENGTH].strip("-"), "predictor": entry})
    return LocatedApi(api, 0, YamlFile(predictor.parent / "cortex.yaml", None, None))


def _project_of(
    located: LocatedApi, name: str, samples: Sequence[str], overrides: Mapping[str, Any], found: FoundApis
) -> Project:
    api, folder = located.api, Path(os.path.abspath(located.file.path)).parent
    _check_folder(folder)
    env_file = read_env_file(folder / ".env")
    dependencies = api.predictor.dependencies
    requirements = read_requirements(folder / ((dependencies and dependencies.pip) or "requirements.txt"))
    settings = replace(_settings_of(located), **overrides)
    for engine in settings.engines:
        find_engine(engine)
    predictor = _check_path(located, folder)
    cluster = cluster_settings(api, found.splitters)
    mount = mount_notices(folder, project_files(folder))
    own_notices = project_notices(located, folder, len(env_file), cluster, settings.tolerances)
    notices = (*found.notices, *own_notices, *mount, *requirements.notices)
    return Project(
        name=name,
        endpoint=_endpoint_of(api, name),
        folder=folder,
        predictor=predictor,
        config=api.predictor.config or {},
        # As in Cortex, whose image read .env when it started.
        env={**(api.predictor.env or {}), **env_file},
        python_path=_check_python_path(located, folder),
        log_level=api.predictor.log_level,
        processes_per_replica=api.predictor.processes_per_replica,
        threads_per_process=api.predictor.threads_per_process,
        max_replica_concurrency=api.autoscaling.max_replica_concurrency if api.autoscaling else 1024,
        requirements=requirements.lines,
        server_side_batching=_batching_of(api),
        models=read_models(located, folder, project_files(folder)),
        nan_as_null=api.compile is not None and api.compile.nan == "null",
        idempotent=api.compile is not None and api.compile.idempotent,
        streaming=api.compile.streaming if api.compile else None,
        samples=_choose_samples(located, folder, predictor, samples, needed=settings.compile),
        settings=settings,
        # Without the folder: they stand in the report of a build that moves.
        notices=tuple(notice.replace(f"{folder}{os.sep}", "") for notice in notices),
        cluster=cluster,
        written=_written(api, settings),
    )


def _written(api: Api, settings: CompileSettings) -> dict[str, Any]:
    found = {name: getattr(settings, name) for name in ("placement", *_SERVING)}
    counts = {"processes_per_replica", "threads_per_process"} & api.predictor.model_fields_set
    return {
        **{name: value for name, value in found.items() if value not in (None, "auto")},
        **{name: getattr(api.predictor, name) for name in sorted(counts)},
    }


def _check_folder(folder: Path) -> None:
    if folder in (Path("/"), Path.home()):
        raise ProjectError(
            f"{folder}: all that lies in it would be part of the build. Give the project its own folder."
        )


def _check_path(located: LocatedApi, folder: Path) -> str:
    path = Path(os.path.relpath(folder / located.api.predictor.path, folder)).as_posix()
    if path.startswith("../"):
        raise ProjectError(
            f"{located.at('predictor', 'path')}: found {located.api.predictor.path!r}, expected a path inside {folder},"
            " the folder of cortex.yaml."
        )
    if path not in project_files(folder):
        raise ProjectError(f"{folder / path}: .cortexignore, or a dot in its path, leaves it out of the project.")
    return path


def _check_python_path(located: LocatedApi, folder: Path) -> str | None:
    written = located.api.predictor.python_path
    path = os.path.normpath(written) if written else "."
    if os.path.isabs(path) or path.startswith("..") or not (folder / path).is_dir():
        raise ProjectError(
            f"{located.at('predictor', 'python_path')}: found {written!r}, expected a folder inside {folder}."
        )
    return None if path == "." else path


def _endpoint_of(api: Api, name: str) -> str:
    if api.networking is not None and api.networking.endpoint is not None:
        return api.networking.endpoint
    try:
        return check_endpoint(f"/{name}")
    except ValueError as error:
        raise ProjectError(
            f"the name {name!r} makes the endpoint '/{name}', expected {error}. Set networking.endpoint or use --name."
        ) from None


def _batching_of(api: Api) -> BatchingSpec | None:
    written = api.predictor.server_side_batching
    return None if written is None else BatchingSpec(written.max_batch_size, parse_duration_s(written.batch_interval))


def _settings_of(located: LocatedApi) -> CompileSettings:
    written = located.api.compile
    if written is None:
        return CompileSettings()
    settings = CompileSettings(leave_alone=tuple(written.leave_alone))
    names = {key: f"{key}_s" for key in ("step_timeout", "request_timeout", "latency_limit")}
    names |= {key: key for key in ("placement", "precision", "objective", "device", "max_body_bytes", *_SERVING)}
    found = {field: getattr(written, key) for key, field in names.items() if getattr(written, key) is not None}
    for index, engine in enumerate(written.engines or ()):
        try:
            find_engine(engine)
        except UsageError as error:
            raise ProjectError(f"{located.at('compile', 'engines', index)}: {error}") from None
    if written.engines is not None:
        found["engines"] = tuple(written.engines)
    if written.buckets is not None:
        found["buckets"] = tuple(sorted(set(written.buckets)))
    if written.gpu is not None:
        found["gpu"] = _schedule_of(written.gpu)
    if written.tolerance is not None:
        found["tolerances"] = _tolerances_of(written.tolerance)
    return replace(settings, **found)


def _schedule_of(written: Gpu) -> GpuSchedule:
    found = written.model_dump(include={"instances", "priority", "cuda_graphs"}, exclude_none=True)
    return GpuSchedule(
        devices=tuple(sorted(set(written.devices or ()))),
        queue_delay_us=None if written.queue_delay is None else round(parse_duration_s(written.queue_delay) * 1e6),
        memory_bytes=None if written.memory is None else int(parse_quantity(written.memory)),
        **found,
    )


def _tolerances_of(written: ToleranceByDtype) -> Tolerances:
    """The numbers that are written, with the defaults for those that are not."""
    defaults = Tolerances()
    found = {
        dtype: replace(getattr(defaults, dtype), **numbers)
        for dtype, numbers in written.model_dump(exclude_none=True).items()
    }
    return replace(defaults, **found)


def _choose_samples(
    located: LocatedApi, folder: Path, predictor: str, given: Sequence[str], *, needed: bool
) -> tuple[Sample, ...]:
    entries = located.api.compile.samples if located.api.compile else []
    beside = (folder / predictor).parent
    if given:
        found = tuple(read_sample(text) for text in given)
    elif entries:
        found = read_listed_samples(folder, entries, [located.at("compile", "samples", i) for i in range(len(entries))])
    else:
        found = default_samples(beside)
    if needed and not found:
        raise ProjectError(
            f"{folder / predictor}: has no sample request to be watched on. Add one that it answers,"
            f" {str(beside / 'sample.json')!r} for JSON, or name one with --sample FILE;"
            " --no-compile serves the predictor as it is."
        )
    return found
