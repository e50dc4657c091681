"""Every fault, in the order in which they are played: those that end a server come last."""

from __future__ import annotations

from . import (
    client_faults,
    container_faults,
    crash_loop,
    ending_faults,
    engine_faults,
    overload,
    predictor_faults,
    process_faults,
    resource_faults,
    update_faults,
)

__all__ = ["FAULTS", "IN_CONTAINERS"]

_FILES = (
    predictor_faults,
    client_faults,
    overload,
    engine_faults,
    process_faults,
    update_faults,
    resource_faults,
    container_faults,
    crash_loop,
    ending_faults,
)

FAULTS = {fault.name: fault for file in _FILES for fault in file.FAULTS}
IN_CONTAINERS = {fault.name for fault in container_faults.FAULTS}
