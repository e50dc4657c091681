"""What may stand in a RealtimeAPI of cortex.yaml, from v0.18 to v0.31, and under our own key ``compile:``.

A validator raises ValueError with what was expected; ``cortex_yaml.py`` adds the file, the line, the key and the value.
Where Cortex's documented default is null, null may be written.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from cortex_compile.compiler.quantities import parse_duration_s, parse_quantity

__all__ = ["MAX_NAME_LENGTH", "Api", "Compile", "SampleEntry", "check_endpoint", "check_name"]

# Kubernetes allows 63, and Cortex added 21 characters to make the name of a pod.
MAX_NAME_LENGTH = 42
_RESERVED_ENDPOINTS = ("/healthz", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json")


def check_name(name: str) -> str:
    if len(name) > MAX_NAME_LENGTH or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        raise ValueError(
            f"at most {MAX_NAME_LENGTH} lower-case letters, digits and '-', first a letter, last a letter or a digit"
        )
    return name


def check_endpoint(endpoint: str) -> str:
    if len(endpoint) > 1000 or not re.fullmatch(r"/?[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*/?", endpoint):
        raise ValueError("a path of letters, digits, '-', '_', '.', '~' and '/', at most 1000 characters")
    endpoint = "/" + endpoint.strip("/")
    if endpoint in _RESERVED_ENDPOINTS:
        raise ValueError(f"an endpoint that the server does not use itself ({', '.join(_RESERVED_ENDPOINTS)})")
    return endpoint


def _check_env(env: dict[str, str]) -> dict[str, str]:
    for key in env:
        if key.startswith("CORTEX_"):
            raise ValueError(f"names that do not start with 'CORTEX_', which is reserved (found {key!r})")
    return env


def _check_quantity(minimum: str) -> Any:
    def check(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"a quantity of at least {minimum!r}")
        if parse_quantity(str(value)) < parse_quantity(minimum):
            raise ValueError(f"a quantity of at least {minimum!r}")
        return str(value)

    return BeforeValidator(check)


def _check_duration(*, minimum_s: float, above: bool = False, multiple_of_s: float | None = None) -> Any:
    def check(text: str) -> str:
        seconds = parse_duration_s(text)
        if seconds < minimum_s or (above and seconds == minimum_s):
            raise ValueError(f"a duration of {'more than' if above else 'at least'} {minimum_s:g}s")
        if multiple_of_s and seconds % multiple_of_s:
            raise ValueError(f"a multiple of {multiple_of_s:g}s")
        return text

    return AfterValidator(check)


def _check_surge(value: Any) -> Any:
    match = re.fullmatch(r"(\d+)(%?)", "" if isinstance(value, bool) else str(value))
    if match is None or (match[2] and int(match[1]) > 100):
        raise ValueError("a whole number, or a percentage from '0%' to '100%'")
    return str(value)


def _read_timeout_s(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("seconds, as a number or as a duration such as '5m'")
    seconds = parse_duration_s(value) if isinstance(value, str) else float(value)
    if not 0 < seconds < float("inf"):
        raise ValueError("more than 0 seconds")
    return seconds


def _read_query(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(item, (str, int, float)) for item in value.values()):
            raise ValueError("text such as 'model=sentiment', or a map of names to text")
        return urlencode({name: str(item) for name, item in value.items()})
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Count = Annotated[int, Field(ge=1)]
Replicas = Annotated[int, Field(ge=1, lt=2**31)]


class Dependencies(_Section):
    pip: str | None = None
    conda: str | None = None
    shell: str | None = None


class ServerSideBatching(_Section):
    max_batch_size: Annotated[int, Field(ge=2, le=1024)]
    batch_interval: Annotated[str, _check_duration(minimum_s=0, above=True)]


class Predictor(_Section):
    type: Literal["python", "tensorflow", "onnx"]
    path: Annotated[str, Field(min_length=1)]
    config: dict[str, JsonValue] | None = None
    python_path: str | None = None
    env: Annotated[dict[str, str], AfterValidator(_check_env)] | None = None
    image: str | None = None
    tensorflow_serving_image: str | None = None
    processes_per_replica: Annotated[int, Field(ge=1, le=100)] = 1
    threads_per_process: Count = 1
    dependencies: Dependencies | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    shm_size: Annotated[str | None, _check_quantity("1")] = None
    server_side_batching: ServerSideBatching | None = None
    # The next five only ever belonged to models that Cortex itself loads, and are looked at by read_project.py.
    models: JsonValue = None
    model: JsonValue = None
    model_path: JsonValue = None
    signature_key: str | None = None
    multi_model_reloading: JsonValue = None


class Compute(_Section):
    cpu: Annotated[str | None, _check_quantity("20m")] = None
    mem: Annotated[str | None, _check_quantity("20Mi")] = None
    gpu: Annotated[int, Field(ge=0)] = 0
    inf: Annotated[int, Field(ge=0)] = 0


class Autoscaling(_Section):
    min_replicas: Replicas = 1
    max_replicas: Replicas = 100
    init_replicas: Replicas | None = None
    target_replica_concurrency: Annotated[float, Field(gt=0)] | None = None
    max_replica_concurrency: Annotated[int, Field(ge=1, le=65535)] = 1024
    window: Annotated[str, _check_duration(minimum_s=10, multiple_of_s=10)] = "60s"
    downscale_stabilization_period: Annotated[str, _check_duration(minimum_s=0)] = "5m"
    upscale_stabilization_period: Annotated[str, _check_duration(minimum_s=0)] = "1m"
    max_downscale_factor: Annotated[float, Field(ge=0, lt=1)] = 0.75
    max_upscale_factor: Annotated[float, Field(gt=1)] = 1.5
    downscale_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.05
    upscale_tolerance: Annotated[float, Field(ge=0)] = 0.05

    @model_validator(mode="after")
    def _check_order(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) at most max_replicas ({self.max_replicas})")
        if self.init_replicas is not None and not self.min_replicas <= self.init_replicas <= self.max_replicas:
            raise ValueError(f"init_replicas ({self.init_replicas}) from min_replicas to max_replicas")
        target = self.target_replica_concurrency
        if target is not None and target > self.max_replica_concurrency:
            raise ValueError(
                f"target_replica_concurrency ({target:g}) at most max_replica_concurrency"
                f" ({self.max_replica_concurrency})"
            )
        return self


class UpdateStrategy(_Section):
    max_surge: Annotated[str, BeforeValidator(_check_surge)] = "25%"
    max_unavailable: Annotated[str, BeforeValidator(_check_surge)] = "25%"

    @model_validator(mode="after")
    def _check_not_both_zero(self) -> UpdateStrategy:
        if self.max_surge in ("0", "0%") and self.max_unavailable in ("0", "0%"):
            raise ValueError("max_surge or max_unavailable above 0: with both 0 no replica can be replaced")
        return self


class Networking(_Section):
    endpoint: Annotated[str, AfterValidator(check_endpoint)] | None = None
    local_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    api_gateway: Literal["public", "none"] | None = None


class Monitoring(_Section):
    model_type: Literal["classification", "regression"] | None = None
    key: str | None = None


class SampleEntry(_Section):
    """A sample under ``compile.samples``; its file name alone may be written."""

    file: Annotated[str, Field(min_length=1)]
    query: Annotated[str, BeforeValidator(_read_query)] = ""
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _accept_file_name(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value


class Compile(_Section):
    """Our own settings; ``CompileSettings`` says what each one does."""

    samples: list[SampleEntry] = Field(default_factory=list)
    engines: Annotated[list[str], Field(min_length=1)] | None = None
    placement: Literal["auto", "local", "remote"] | None = None
    precision: Literal["fp32", "fp16", "int8"] | None = None
    device: Literal["auto", "cpu", "cuda"] | None = None
    leave_alone: list[str] = Field(default_factory=list)
    step_timeout: Annotated[float, BeforeValidator(_read_timeout_s)] | None = None
    request_timeout: Annotated[float, BeforeValidator(_read_timeout_s)] | None = None
    max_body_bytes: Count | None = None


class Api(_Section):
    """One RealtimeAPI. Files written before v0.19 have no ``kind``."""

    name: Annotated[str, AfterValidator(check_name)]
    kind: Literal["RealtimeAPI"] = "RealtimeAPI"
    predictor: Predictor
    compute: Compute = Field(default_factory=Compute)
    autoscaling: Autoscaling | None = None
    update_strategy: UpdateStrategy | None = None
    networking: Networking | None = None
    monitoring: Monitoring | None = None
    compile: Compile | None = None
