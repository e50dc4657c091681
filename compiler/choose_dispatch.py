"""How a process answers its requests: a pure function of what the author wrote and of what the rehearsal proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cortex_compile.compiler.artifacts import Project
from cortex_compile.python_backend.manifest import Core, Dispatch

__all__ = [
    "answered_in_execute",
    "choose_dispatch",
    "largest_batch",
    "rows_of_shared_runs",
    "sharing_dispatch",
    "why_not_to_ask",
]

# Requests under way in one process, each with a thread: more make no larger batches, and take memory.
MOST_AT_ONCE = 32
# Where several runs that they share go on at once, more keep more of them going.
_MOST_SHARING = 64
# Of the longest sample. What a thread of its own costs a request is little beside that; what it gives, that a request
# whose client has left is not begun, counts where requests take long.
_SHORT_MS = 1.0


def why_not_to_ask(project: Project) -> str | None:
    """Why the turn may not be passed on whatever the predictor does; None where that is to be proven."""
    if project.threads_per_process > 1:
        return f"threads_per_process is {project.threads_per_process}"
    if "threads_per_process" in project.written:
        return "threads_per_process: 1 is written in cortex.yaml"
    if project.server_side_batching is not None:
        return "predict takes batches already"
    if project.models is not None:
        return "models are loaded while it answers"
    return None


def choose_dispatch(project: Project, cores: Sequence[Core], turn_refused: str | None) -> Dispatch:
    """Without `tune`, which measures, the turn is passed on only where that is likely to gain."""
    if project.threads_per_process > 1:
        return Dispatch("threads", project.threads_per_process, turn_refused)
    if turn_refused is not None:
        return Dispatch("in turn", 1, turn_refused)
    if any(core.placement == "remote" for core in cores):
        return Dispatch("passed turn", max(2, min(MOST_AT_ONCE, largest_batch(cores))), None)
    rows = rows_of_shared_runs(cores)
    if rows > 1 and _most_calls_share_runs(cores):
        shared = [core.shared_run for core in cores if core.threads > 1 and core.shared_run is not None]
        side_by_side = any(run.side_by_side_from is not None for run in shared)
        return replace(sharing_dispatch(rows, runs_at_once(cores)), side_by_side=side_by_side)
    if any(core.passes_turn and core.threads > 1 for core in cores):
        # Cores enough for one request's Python beside another's call. Two calls at once would only share them.
        return Dispatch("passed turn", 2, None)
    return Dispatch("in turn", 1, None)


def answered_in_execute(
    dispatch: Dispatch, project: Project, samples_ms: Sequence[float], *, streams: bool
) -> Dispatch:
    """The same dispatch, without a thread of its own for requests that are answered in turn, where they are short."""
    is_short = 0 < max(samples_ms, default=0.0) <= _SHORT_MS
    needs_thread = streams or project.server_side_batching is not None or project.models is not None
    return replace(dispatch, in_execute=dispatch.kind == "in turn" and is_short and not needs_thread)


def _most_calls_share_runs(cores: Sequence[Core]) -> bool:
    """By their time. Where it is the decoder's, many requests under way take turns at its steps, and all end late."""
    of_all = sum(core.calls_ms for core in cores)
    return sum(core.calls_ms for core in cores if core.shared_run is not None) >= of_all / 2


def sharing_dispatch(rows: int, runs: int) -> Dispatch:
    """While ``runs`` of so many rows go on, the calls of as many are made ready: two may end at about the same time."""
    most = MOST_AT_ONCE if runs == 1 else _MOST_SHARING
    return Dispatch("passed turn", min(most, 2 * runs * rows), None, rows)


def runs_at_once(cores: Sequence[Core]) -> int:
    """Of a core's graph, in one process: a full one may begin on each of the engine's threads."""
    return max((core.threads for core in cores if core.placement == "local" and core.shared_run), default=1)


def rows_of_shared_runs(cores: Sequence[Core]) -> int:
    """Of the local core that gains most; 1 where none gains."""
    shared = [core.shared_run for core in cores if core.placement == "local" and core.passes_turn]
    return max((run.rows for run in shared if run is not None), default=1)


def largest_batch(cores: Sequence[Core]) -> int:
    """Of requests with one row each; 1 where no rows were proven independent."""
    return max(
        (
            dimension.maximum
            for core in cores
            for variant in core.variants
            for dimension in variant.dimensions
            if dimension.name == variant.batch_dimension
        ),
        default=1,
    )
