"""What cortex.yaml says for a cluster alone: kept as it was written, for the cluster targets, and told in a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from cortex_compile.compiler.cortex_yaml_schema import Api, TrafficSplitter

__all__ = ["cluster_settings", "words_for_a_cluster"]

_OF_PREDICTOR = {"image", "tensorflow_serving_image", "shm_size"}
# They stand in nearly every cortex.yaml, and nobody wonders where they go.
_QUIET = {"compute.cpu", "compute.mem", "compute.gpu", "networking.local_port"}
_WHOLE = {"autoscaling", "update_strategy", "monitoring"}


def cluster_settings(api: Api, splitters: Sequence[TrafficSplitter]) -> dict[str, Any]:
    """By cortex.yaml's own keys, only what was written; ``traffic_splitters`` are those that name the API."""
    sections = {
        "predictor": _written(api.predictor, include=_OF_PREDICTOR),
        "compute": _written(api.compute),
        "autoscaling": _written(api.autoscaling, exclude={"max_replica_concurrency"}),
        "update_strategy": _written(api.update_strategy),
        "networking": _written(api.networking, exclude={"endpoint"}),
        "monitoring": _written(api.monitoring),
        "traffic_splitters": [
            _written(splitter) for splitter in splitters if any(each.name == api.name for each in splitter.apis)
        ],
    }
    return {name: found for name, found in sections.items() if found}


def words_for_a_cluster(settings: dict[str, Any]) -> tuple[str, ...]:
    """``autoscaling``, ``predictor.image``, ``TrafficSplitter 'split'``: what a person may expect to have an effect."""
    words = []
    for section, found in settings.items():
        if section == "traffic_splitters":
            words += [f"TrafficSplitter {splitter['name']!r}" for splitter in found]
        elif section in _WHOLE:
            words.append(section)
        else:
            words += [f"{section}.{key}" for key in found if f"{section}.{key}" not in _QUIET]
    return tuple(words)


def _written(
    section: BaseModel | None, include: set[str] | None = None, exclude: set[str] | None = None
) -> dict[str, Any]:
    if section is None:
        return {}
    return section.model_dump(include=include, exclude=exclude, exclude_unset=True, exclude_none=True)
