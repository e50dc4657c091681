"""The Triton models that stand in builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cortex_compile.errors import BuildError, UsageError
from cortex_compile.python_backend.manifest import check_build


@dataclass(frozen=True)
class ServedModel:
    """A folder of a build's model repository.

    ``slots``: what its instances take turns for, and how many instances on each device do. ``gpu_instances`` run on
    each of ``gpus``, by number; on all if that is empty. One that ``streams`` is asked over gRPC's streams alone.
    """

    name: str
    folder: Path
    backend: str
    instances: int
    slots: Mapping[str, int] = field(default_factory=dict)
    gpu_instances: int = 0
    gpus: tuple[int, ...] = ()
    streams: bool = False


def read_builds(builds: Sequence[Path], hardware: str) -> tuple[ServedModel, ...]:
    """Check builds and list the models in them.

    Raises:
        BuildError: a folder is not a build, or is damaged.
        UsageError: there is no build, or a name stands in two of them.
    """
    if not builds:
        raise UsageError("There is no build to serve. Name the folder of at least one.")
    seen: dict[str, Path] = {}
    models: list[ServedModel] = []
    for build in builds:
        name = check_build(build).name
        if name in seen:
            raise UsageError(f"{str(seen[name])!r} and {str(build)!r} are both builds of {name!r}. Serve one of them.")
        seen[name] = build
        models += read_models(build / "model_repository", hardware)
    return tuple(models)


def read_models(repository: Path, hardware: str) -> list[ServedModel]:
    """The models of a repository, by the config that Triton takes for this hardware.

    Raises:
        BuildError: a config.pbtxt cannot be read.
    """
    folders = sorted(folder for folder in repository.iterdir() if (folder / "config.pbtxt").is_file())
    return [_read_model(folder, hardware) for folder in folders]


def slots_of(models: Sequence[ServedModel]) -> dict[str, int]:
    """How many of each slot a device has: as many as the model with the most instances there wants at a time.

    What one model alone wants is no reason for taking turns: nothing then, and Triton's rate limiter stays off.
    """
    wanted = {name for model in models for name in model.slots}
    counts = {name: [model.slots[name] for model in models if name in model.slots] for name in wanted}
    return {name: max(each) for name, each in counts.items() if len(each) > 1}


def _read_model(folder: Path, hardware: str) -> ServedModel:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    special = folder / "configs" / f"{hardware}.pbtxt"
    path = special if special.is_file() else folder / "config.pbtxt"
    try:
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise BuildError(f"{path}: cannot be read ({error}). Compile again.") from error
    # Without a group there is one instance, and a group without a count has one.
    instances = sum(max(1, group.count) for group in config.instance_group) or 1
    slots = {
        resource.name: max(1, group.count)
        for group in config.instance_group
        for resource in group.rate_limiter.resources
    }
    on_gpu = [group for group in config.instance_group if group.kind == group.KIND_GPU]
    return ServedModel(
        name=folder.name,
        folder=folder,
        backend=config.backend,
        instances=instances,
        slots=slots,
        gpu_instances=sum(max(1, group.count) for group in on_gpu),
        gpus=tuple(number for group in on_gpu for number in group.gpus),
        streams=config.model_transaction_policy.decoupled,
    )
