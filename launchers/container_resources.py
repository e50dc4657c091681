"""What a container of a build gets, by what cortex.yaml says of a cluster and by estimates where it says nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile.launchers.shared_memory import MIB, shared_memory_of_a_container
from cortex_compile.python_backend.manifest import Manifest
from cortex_compile.quantities import parse_quantity

__all__ = ["ContainerResources", "resources_of"]

# For Python, the libraries and a predictor beside its weights, which a process may hold three times while it starts.
_MEMORY_OF_A_PROCESS, _COPIES_OF_WEIGHTS, _MEMORY_OF_TRITON = 1024 * MIB, 3, 1024 * MIB
# Of TensorRT's plans, those for GPUs of other machines (compiler/plans_of_other_gpus.py): one is loaded.
_PLANS_OF_OTHER_GPUS = "model-*.plan"
# `serve --drain-timeout` by itself; until a Service sends no more; and what Triton takes afterwards.
_DRAIN_S, _LEAVE_SERVICE_S, _STOP_S = 5, 5, 10


@dataclass(frozen=True)
class ContainerResources:
    """``memory_bytes`` is a limit; the cpu and memory of cortex.yaml are what it asked a cluster for, no limits there
    either. ``drain_s``: how long requests under way may take when it is to stop."""

    shm_bytes: int
    memory_bytes: int
    asked_cpus: float | None
    asked_memory_bytes: int | None
    gpus: int
    replicas: int
    max_surge: str
    max_unavailable: str
    drain_s: int
    grace_s: int

    @property
    def cpu_shares(self) -> int | None:
        """Docker's weights among containers that want the processors, 1024 for each one that was asked for."""
        return None if self.asked_cpus is None else max(2, round(1024 * self.asked_cpus))


def resources_of(manifest: Manifest, build: Path, processes: int) -> ContainerResources:
    """``processes`` are those of Python in the container."""
    compute: dict[str, Any] = manifest.cluster.get("compute", {})
    scaling: dict[str, Any] = manifest.cluster.get("autoscaling", {})
    update: dict[str, Any] = manifest.cluster.get("update_strategy", {})
    asked_shm = manifest.cluster.get("predictor", {}).get("shm_size")
    # What the predictor shares among processes of its own comes on top of what Triton needs.
    shm_bytes = shared_memory_of_a_container(processes, manifest.max_body_bytes) + (_bytes(asked_shm) or 0)
    files = [path for path in (build / "model_repository").rglob("*") if path.is_file()]
    weights = sum(path.stat().st_size for path in files if not path.match(_PLANS_OF_OTHER_GPUS))
    process = _MEMORY_OF_A_PROCESS + _COPIES_OF_WEIGHTS * weights
    estimate = _MEMORY_OF_TRITON + manifest.processes_per_replica * process + shm_bytes
    asked_memory = _bytes(compute.get("mem"))
    asked_cpus = compute.get("cpu")
    drain_s = max(_DRAIN_S, math.ceil(manifest.request_timeout_s))
    return ContainerResources(
        shm_bytes=shm_bytes,
        memory_bytes=max(estimate, (asked_memory or 0) + shm_bytes),
        asked_cpus=None if asked_cpus is None else parse_quantity(asked_cpus),
        asked_memory_bytes=asked_memory,
        gpus=compute.get("gpu", 0),
        replicas=scaling.get("init_replicas", scaling.get("min_replicas", 1)),
        max_surge=update.get("max_surge", "25%"),
        max_unavailable=update.get("max_unavailable", "25%"),
        drain_s=drain_s,
        grace_s=_LEAVE_SERVICE_S + drain_s + _STOP_S,
    )


def _bytes(quantity: str | None) -> int | None:
    return None if quantity is None else math.ceil(parse_quantity(quantity))
