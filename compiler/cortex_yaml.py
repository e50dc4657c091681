"""Read cortex.yaml: every key checked, and every error with its file, line, key, what was found and expected."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cortex_compile.compiler.cortex_yaml_schema import Api, TrafficSplitter
from cortex_compile.compiler.yaml_reader import Key, YamlFile, read_yaml
from cortex_compile.errors import ProjectError

__all__ = ["CortexYaml", "Located", "LocatedApi", "OtherKind", "check_cortex_yaml", "did_you_mean", "read_cortex_yaml"]

_OTHER_KINDS = ("BatchAPI", "AsyncAPI", "TaskAPI")

Entry = TypeVar("Entry", Api, TrafficSplitter)


@dataclass(frozen=True)
class Located(Generic[Entry]):
    """An entry of the file and where it stands."""

    api: Entry
    index: int
    file: YamlFile

    def at(self, *keys: Key) -> str:
        """``FILE:LINE: api 'NAME', KEY``: the beginning of an error message about a key."""
        where = f", {_key_path(keys)}" if keys else ""
        return f"{self.file.at(self.index, *keys)}: api {self.api.name!r}{where}"


LocatedApi = Located[Api]


@dataclass(frozen=True)
class OtherKind:
    """An entry that is not a RealtimeAPI, and so is not compiled."""

    name: str
    kind: str
    predictor_path: str | None
    where: str


@dataclass(frozen=True)
class CortexYaml:
    file: YamlFile
    apis: tuple[LocatedApi, ...]
    splitters: tuple[Located[TrafficSplitter], ...]
    others: tuple[OtherKind, ...]


def read_cortex_yaml(path: Path) -> CortexYaml:
    """
    Raises:
        ProjectError: the first thing wrong in the file, by line.
    """
    return check_cortex_yaml(read_yaml(path))


def check_cortex_yaml(file: YamlFile) -> CortexYaml:
    """
    Raises:
        ProjectError: the first thing wrong in the file, by line.
    """
    if not isinstance(file.value, list) or not all(isinstance(entry, dict) for entry in file.value):
        raise ProjectError(f"{file.at()}: found {_shown(file.value)}, expected a list of APIs: '- name: my-api' …")
    apis: list[LocatedApi] = []
    splitters: list[Located[TrafficSplitter]] = []
    others: list[OtherKind] = []
    for index, entry in enumerate(file.value):
        if entry.get("kind") in _OTHER_KINDS:
            predictor = entry.get("predictor")
            path = predictor.get("path") if isinstance(predictor, dict) else None
            name, kind = str(entry.get("name")), str(entry["kind"])
            others.append(OtherKind(name, kind, path if isinstance(path, str) else None, file.at(index)))
        elif entry.get("kind") == "TrafficSplitter":
            splitters.append(Located(_validate(file, index, entry, TrafficSplitter), index, file))
        else:
            apis.append(Located(_validate(file, index, entry, Api), index, file))
    _refuse_duplicates([*apis, *splitters], "name", ("name",), lambda entry: entry.name)
    _refuse_duplicates([*apis, *splitters], "endpoint", ("networking", "endpoint"), _endpoint_of)
    return CortexYaml(file, tuple(apis), tuple(splitters), tuple(others))


def did_you_mean(found: object, candidates: Iterable[str]) -> str:
    """ " Did you mean 'x'?", or nothing where no candidate is near."""
    close = difflib.get_close_matches(str(found), list(candidates), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _endpoint_of(api: Api | TrafficSplitter) -> str:
    return (api.networking and api.networking.endpoint) or f"/{api.name}"


def _refuse_duplicates(
    entries: Sequence[LocatedApi | Located[TrafficSplitter]],
    what: str,
    keys: tuple[Key, ...],
    value_of: Callable[[Api | TrafficSplitter], str],
) -> None:
    seen: dict[str, LocatedApi | Located[TrafficSplitter]] = {}
    for located in sorted(entries, key=lambda entry: entry.index):
        value = value_of(located.api)
        if value in seen:
            first = seen[value].file.at(seen[value].index, *keys)
            raise ProjectError(f"{located.at(*keys)}: the {what} {value!r} is taken by {first}. Give each API its own.")
        seen[value] = located


def _validate(file: YamlFile, index: int, entry: dict[Any, Any], model: type[Entry]) -> Entry:
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        problems = [(_written_keys(problem["loc"]), problem) for problem in error.errors(include_url=False)]
        # A misspelt key is told before the missing one that it stands for.
        problems.sort(key=lambda item: (file.line_of((index, *item[0])), item[1]["type"] != "extra_forbidden"))
        keys, first = problems[0]
        name = entry.get("name")
        who = f"api {name!r}" if isinstance(name, str) else f"the API at position {index + 1}"
        more = f" ({len(problems) - 1} more after this one.)" if len(problems) > 1 else ""
        raise ProjectError(f"{file.at(index, *keys)}: {who}, {_described(keys, first, model)}{more}") from None


_EXPECTED = {
    "string_type": "text (in quotes, if it looks like a number)",
    "string_too_short": "text that is not empty",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a number that is finite",
    "too_short": "at least {min_length} entry",
    "value_error": "{error}",
    "invalid-json-value": "a value that JSON can hold",
}


def _described(keys: tuple[Key, ...], problem: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context, path = problem["type"], problem.get("ctx", {}), _key_path(keys)
    if kind == "missing":
        return f"{path}: the key is missing. Add it."
    if kind == "extra_forbidden":
        known = _known_keys(keys[:-1], model)
        hint = did_you_mean(keys[-1], known)
        return f"{path}: the key {_short(keys[-1])!r} is not known.{hint} Known: {', '.join(known)}."
    if problem["loc"][-1:] == ("[key]",):
        return f"{_key_path(keys[:-1])}: found the key {keys[-1]!r}, expected keys that are text: write '{keys[-1]}'."
    expected = _EXPECTED.get(kind, problem["msg"]).format(**context)
    candidates = expected.replace("'", "").replace(" or ", ", ").split(", ") if kind == "literal_error" else ()
    hint = did_you_mean(problem["input"], candidates)
    return f"{path}: found {_shown(problem['input'])}, expected {expected}.{hint}"


def _known_keys(keys: Sequence[Key], model: type[BaseModel]) -> list[str]:
    """The keys of the section that a path of keys leads to, by walking the models' annotations."""
    for key in keys:
        if isinstance(key, str):
            model = _model_in(model.model_fields[key].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_model_in(part) for part in annotation.__args__ if part is not type(None))


def _written_keys(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    """The keys that stand in the file: pydantic names the type of each level of a free JSON value as well."""
    keys = keys[:-1] if keys[-1:] == ("[key]",) else keys
    return (*keys[:3], *keys[4::2]) if keys[:2] == ("predictor", "config") else keys


def _key_path(keys: Sequence[Key]) -> str:
    """``predictor.config.labels[2]``"""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{_short(key)}" for key in keys)
    return text.removeprefix(".") or "the API"


def _short(key: Key) -> Key:
    """A key that can be shown: one may be as long as the file."""
    return f"{key[:60]}…" if isinstance(key, str) and len(key) > 60 else key


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "a map" if isinstance(value, dict) else "a list"
    return f"{value!r:.80}"
