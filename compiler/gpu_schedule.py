"""How the remote cores of an API share the GPUs of the machine that serves it: ``compile.gpu`` of cortex.yaml.

None of the defaults was measured on a GPU; each is what costs least to be wrong about (docs/gpu.md says why).
"""

from __future__ import annotations

from dataclasses import dataclass

from cortex_compile.python_backend.manifest import GpuMemory

__all__ = ["GpuSchedule", "gpu_memory_in_words", "queue_delay_us", "schedule_in_words"]

# For throughput: within it the requests of concurrent clients mostly arrive; of a call's time-out it is nothing.
_DELAY_FOR_THROUGHPUT_US = 500


@dataclass(frozen=True)
class GpuSchedule:
    """``devices``: GPUs by number, all that Triton sees if empty. ``instances``: of each core on each of them.

    ``priority`` goes among the cores of all APIs that a server has: while GPUs are short, a core of 2 gets half as many
    turns as one of 1. ``queue_delay_us``: how long a batch waits to be filled; None goes by the objective.
    ``memory_bytes``: what an instance takes of a GPU; None is estimated.
    """

    devices: tuple[int, ...] = ()
    instances: int = 1
    priority: int = 1
    queue_delay_us: int | None = None
    cuda_graphs: bool = True
    memory_bytes: int | None = None


def queue_delay_us(schedule: GpuSchedule, objective: str) -> int:
    if schedule.queue_delay_us is not None:
        return schedule.queue_delay_us
    return _DELAY_FOR_THROUGHPUT_US if objective == "throughput" else 0


def schedule_in_words(schedule: GpuSchedule, objective: str) -> str:
    count = f"{schedule.instances} instance{'s' if schedule.instances > 1 else ''}"
    where = f"GPU {', '.join(map(str, schedule.devices))}" if schedule.devices else "each GPU"
    delay = queue_delay_us(schedule, objective)
    wait = f"a batch waits {delay / 1000:g} ms to be filled" if delay else "no batch waits to be filled"
    return f"on a machine with GPUs: {count} on {where}, priority {schedule.priority}, {wait}"


def gpu_memory_in_words(need: GpuMemory) -> str:
    parts = f"{need.weights_bytes / 2**20:.0f} MiB"
    if need.activation_bytes:
        parts += f" of weights and {need.activation_bytes / 2**20:.0f} MiB to compute in"
    return f"an instance of {need.model} takes {parts} of a GPU ({need.source})"
