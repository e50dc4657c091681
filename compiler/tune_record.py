"""What `tune` tries, and what it found: for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cortex_compile.python_backend.manifest import Placement

__all__ = ["Configuration", "TuneTrial", "Tuning"]


@dataclass(frozen=True)
class Configuration:
    """A way of serving a build. Modules that Triton cannot run stay in the predictor's process.

    ``processes``: of the predictor. ``engine_threads``: of each compiled module. ``at_once``: requests under way in a
    process. ``core_instances`` and ``max_batch`` are of remote modules: how many run side by side, and the largest
    batch; None is as large as was proven, 0 is none.
    """

    placement: Placement
    processes: int
    engine_threads: int
    dispatch: Literal["in turn", "passed turn", "threads"]
    at_once: int
    core_instances: int = 1
    max_batch: int | None = None
    shared_rows: int = 1
    """Rows of the runs that calls of local modules share; 1: each runs by itself."""
    side_by_side: bool = False
    """With calls enough, those runs have a thread each and go on side by side; else each has all of the engine's."""


@dataclass(frozen=True)
class TuneTrial:
    """One configuration under load. The interval is of ``score``, which is better the larger it is: answers a second,
    or for latency 1000 divided by the median in ms."""

    configuration: Configuration
    outcome: Literal["measured", "stopped early", "refused"]
    reason: str
    windows: int
    per_second: float
    p50_ms: float
    p99_ms: float
    score: float
    lowest_score: float
    highest_score: float


@dataclass(frozen=True)
class Tuning:
    """The trials in the order in which they were made; ``winner`` is the place of the one that the build has now, and
    the first is how it was."""

    objective: Literal["latency", "throughput"]
    clients: int
    latency_limit_ms: float | None
    tried_all: bool
    seconds: float
    trials: tuple[TuneTrial, ...]
    winner: int
