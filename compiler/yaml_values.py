"""The values of cortex.yaml that are more than a type: how each is checked, and how a JSON schema describes it.

A check raises ValueError with what was expected; ``cortex_yaml.py`` adds the file, the line, the key and the value.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from cortex_compile.python_backend.names import ENDPOINT, MAX_NAME_LENGTH, NAME, is_endpoint, is_name, is_variable
from cortex_compile.python_backend.request import LONGEST_TIMEOUT_S
from cortex_compile.quantities import parse_duration_s, parse_quantity

__all__ = [
    "Count",
    "Endpoint",
    "Env",
    "FilePath",
    "Name",
    "Query",
    "Replicas",
    "Surge",
    "TimeoutS",
    "check_duration",
    "check_endpoint",
    "check_name",
    "check_quantity",
]

# Linux's.
_LONGEST_NAME, _LONGEST_PATH = 255, 4000
_RESERVED_ENDPOINTS = ("/healthz", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json")


def check_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(
            f"at most {MAX_NAME_LENGTH} lower-case letters, digits and '-', first a letter, last a letter or a digit"
        )
    return name


def _check_path(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path without NUL")
    if len(os.fsencode(path)) > _LONGEST_PATH or any(
        len(os.fsencode(name)) > _LONGEST_NAME for name in path.split("/")
    ):
        raise ValueError(f"a path with names of at most {_LONGEST_NAME} bytes, {_LONGEST_PATH} in all")
    return path


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_check_path)]
"""That a system can be asked for."""


def check_endpoint(endpoint: str) -> str:
    if not is_endpoint(endpoint):
        raise ValueError("a path of letters, digits, '-', '_', '.', '~' and '/', at most 1000 characters")
    endpoint = "/" + endpoint.strip("/")
    if endpoint in _RESERVED_ENDPOINTS:
        raise ValueError(f"an endpoint that the server does not use itself ({', '.join(_RESERVED_ENDPOINTS)})")
    return endpoint


def check_quantity(minimum: str) -> Any:
    """CPU or memory, as text or as a number; what is left is text."""

    def check(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"a quantity of at least {minimum!r}")
        if parse_quantity(str(value)) < parse_quantity(minimum):
            raise ValueError(f"a quantity of at least {minimum!r}")
        return str(value)

    return BeforeValidator(check, json_schema_input_type=str | int | float | None)


def check_duration(*, minimum_s: float, above: bool = False, multiple_of_s: float | None = None) -> Any:
    def check(text: str) -> str:
        seconds = parse_duration_s(text)
        if seconds < minimum_s or (above and seconds == minimum_s):
            raise ValueError(f"a duration of {'more than' if above else 'at least'} {minimum_s:g}s")
        if multiple_of_s and seconds % multiple_of_s:
            raise ValueError(f"a multiple of {multiple_of_s:g}s")
        return text

    return AfterValidator(check)


def _check_env(env: dict[str, str]) -> dict[str, str]:
    for key, value in env.items():
        if not is_variable(key, value):
            raise ValueError(f"names that are not empty and have no '=', and no NUL (found {key!r})")
        if key.startswith("CORTEX_"):
            raise ValueError(f"names that do not start with 'CORTEX_', which is reserved (found {key!r})")
    return env


def _check_surge(value: Any) -> Any:
    match = re.fullmatch(r"(\d+)(%?)", "" if isinstance(value, bool) else str(value))
    if match is None or (match[2] and int(match[1]) > 100):
        raise ValueError("a whole number, or a percentage from '0%' to '100%'")
    return str(value)


def _read_timeout_s(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("seconds, as a number or as a duration such as '5m'")
    seconds = parse_duration_s(value) if isinstance(value, str) else float(value)
    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise ValueError(f"more than 0 seconds, and at most {LONGEST_TIMEOUT_S}")
    return seconds


def _read_query(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(item, (str, int, float)) for item in value.values()):
            raise ValueError("text such as 'model=sentiment', or a map of names to text")
        return urlencode({name: str(item) for name, item in value.items()})
    return value


Count = Annotated[int, Field(ge=1)]
Replicas = Annotated[int, Field(ge=1, lt=2**31)]
Name = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$", "maxLength": MAX_NAME_LENGTH}),
]
Endpoint = Annotated[
    str,
    AfterValidator(check_endpoint),
    WithJsonSchema({"type": "string", "pattern": f"^{ENDPOINT}$", "maxLength": 1000}),
]
Env = Annotated[
    dict[str, str],
    AfterValidator(_check_env),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"pattern": "^(?!CORTEX_)"}}
    ),
]
Surge = Annotated[str, BeforeValidator(_check_surge, json_schema_input_type=int | str)]
TimeoutS = Annotated[float, BeforeValidator(_read_timeout_s, json_schema_input_type=float | str)]
Query = Annotated[str, BeforeValidator(_read_query, json_schema_input_type=str | dict[str, str | int | float])]
