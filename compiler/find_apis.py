"""Which APIs a predictor file belongs to, or a cortex.yaml has."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from cortex_compile.compiler.cortex_yaml import (
    CortexYaml,
    LocatedApi,
    OtherKind,
    check_cortex_yaml,
    did_you_mean,
    read_cortex_yaml,
)
from cortex_compile.compiler.cortex_yaml_schema import TrafficSplitter
from cortex_compile.compiler.yaml_reader import YamlFile, read_yaml
from cortex_compile.errors import ProjectError, UsageError

__all__ = ["YAML_SUFFIXES", "FoundApis", "choose_by_name", "find_apis"]

YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class FoundApis:
    """The APIs of the file; a predictor without a cortex.yaml has none, and then perhaps a ``config``."""

    apis: tuple[LocatedApi, ...] = ()
    config: dict[str, Any] | None = None
    splitters: tuple[TrafficSplitter, ...] = ()
    notices: tuple[str, ...] = ()


def find_apis(predictor: Path, config: Path | None) -> FoundApis:
    """Look into ``config``, else into cortex.yaml beside the predictor, else into one above that names it.

    In the place of a predictor a cortex.yaml may be given: then it is all of its APIs.

    Raises:
        UsageError: ``config`` is not a file, or stands beside a cortex.yaml.
        ProjectError: the file is wrong, or has no API for this predictor.
    """
    if predictor.suffix in YAML_SUFFIXES:
        if config is not None:
            raise UsageError(f"--config {str(config)!r}: leave it out, {str(predictor)!r} says what is configured.")
        return _all_apis_of(read_cortex_yaml(predictor))
    if config is not None:
        return _read_config(predictor, config)
    for folder in predictor.parents:
        path = folder / "cortex.yaml"
        # A folder's project may lie in its parents, but a stray file up there is no reason to stop.
        if path.is_file() and (folder == predictor.parent or _names_predictor(path, predictor)):
            return _apis_of(read_cortex_yaml(path), predictor)
    return FoundApis()


def choose_by_name(apis: Sequence[LocatedApi], name: str | None) -> tuple[LocatedApi, ...]:
    """All of them, or the one of that name; a single one may be given another name.

    Raises:
        UsageError: several, and none of that name.
    """
    chosen = tuple(api for api in apis if name is None or api.api.name == name)
    if not chosen and len(apis) > 1:
        names = [api.api.name for api in apis]
        raise UsageError(f"--name {name!r}: the APIs are {', '.join(names)}.{did_you_mean(name, names)}")
    return chosen or tuple(apis)


def _read_config(predictor: Path, path: Path) -> FoundApis:
    if not os.path.isfile(path):
        raise UsageError(f"--config {str(path)!r}: there is no such file.")
    file = _read_json(path) if path.suffix.lower() == ".json" else read_yaml(path)
    if isinstance(file.value, list):
        return _apis_of(check_cortex_yaml(file), predictor)
    value = {} if file.value is None else file.value
    if isinstance(value, dict) and isinstance(value.get("predictor"), dict):
        raise ProjectError(f"{file.at()}: found one API, expected a list of them. Write '- name: …' in its first line.")
    try:
        return FoundApis(config=TypeAdapter(dict[str, JsonValue]).validate_python(value, strict=True))
    except ValidationError:
        raise ProjectError(
            f"{file.at()}: expected a list of APIs as in cortex.yaml, or the map that __init__ gets as config,"
            " with keys that are text and values that JSON can hold."
        ) from None


def _read_json(path: Path) -> YamlFile:
    try:
        return YamlFile(path, json.loads(path.read_bytes()), None)
    except json.JSONDecodeError as error:
        raise ProjectError(f"{path}:{error.lineno}:{error.colno}: is not valid JSON: {error.msg}.") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ProjectError(f"{path}: cannot be read as JSON ({error}).") from None


def _all_apis_of(found: CortexYaml) -> FoundApis:
    if not found.apis:
        raise ProjectError(f"{found.file.path}: has no API of the kind 'RealtimeAPI'; other kinds are not compiled.")
    for located in found.apis:
        path = located.api.predictor.path
        if not (found.file.path.parent / path).is_file():
            raise ProjectError(
                f"{located.at('predictor', 'path')}: found {path!r}, and there is no such file; expected the Python"
                " file of a predictor, from the folder of cortex.yaml."
            )
    return _found(found, found.apis, found.others)


def _apis_of(found: CortexYaml, predictor: Path) -> FoundApis:
    folder = found.file.path.parent
    apis = tuple(api for api in found.apis if _is_same_file(folder, api.api.predictor.path, predictor))
    others = tuple(other for other in found.others if _is_same_file(folder, other.predictor_path, predictor))
    if apis:
        return _found(found, apis, others)
    if others:
        raise ProjectError(f"{others[0].where}: found the kind {others[0].kind!r}, expected 'RealtimeAPI'.")
    name = os.path.relpath(predictor, folder)
    paths = sorted({api.api.predictor.path for api in found.apis})
    there = f"; it has {', '.join(map(repr, paths))}" if paths else ""
    raise ProjectError(
        f"{found.file.path}: has no API whose predictor.path is {name!r}{there}.{did_you_mean(name, paths)}"
        " Add one, or compile a predictor that it names."
    )


def _found(file: CortexYaml, apis: tuple[LocatedApi, ...], others: tuple[OtherKind, ...]) -> FoundApis:
    for api in apis:
        _check_type(api)
    notices = tuple(f"{other.where}: {other.name!r} is a {other.kind} and is left out." for other in others)
    return FoundApis(apis, splitters=tuple(located.api for located in file.splitters), notices=notices)


def _check_type(located: LocatedApi) -> None:
    predictor = located.api.predictor
    if predictor.type != "python":
        raise ProjectError(
            f"{located.at('predictor', 'type')}: found {predictor.type!r}, expected 'python': only Python predictors"
            " are compiled. Load the model in a PythonPredictor."
        )
    for key in ("models", "model", "model_path", "signature_key"):
        if getattr(predictor, key) is not None:
            raise ProjectError(
                f"{located.at('predictor', key)}: is not supported here. Write models for load_model under"
                " multi_model_reloading, its name since Cortex v0.25; load others in the predictor's own __init__."
            )


def _is_same_file(folder: Path, path: str | None, predictor: Path) -> bool:
    return path is not None and os.path.realpath(folder / path) == os.path.realpath(predictor)


def _names_predictor(path: Path, predictor: Path) -> bool:
    try:
        entries = read_yaml(path).value
    except ProjectError:
        return False
    sections = (
        [entry.get("predictor") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    paths = [section.get("path") for section in sections if isinstance(section, dict)]
    return any(isinstance(found, str) and _is_same_file(path.parent, found, predictor) for found in paths)
