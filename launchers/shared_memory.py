"""The shared memory through which tritonserver and its Python processes speak: a region for each model instance.

Regions are files of /dev/shm. Their names start with who launched them, so that a later launcher can remove what one
that was killed has left.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

from cortex_compile.errors import LaunchError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # Triton has no other place; its regions have random names

MIB = 1024 * 1024
# Triton's own default, and the least that it takes. A region that is too small grows while a request waits, so a
# larger one is taken where there is room: large tensors crossed about twice as fast.
SMALLEST_REGION = MIB
LARGEST_REGION = 16 * MIB

_NAME = re.compile(r"cortex-compile-(?P<namespace>\d+)-(?P<pid>\d+)-")


def new_region_prefix() -> str:
    """A prefix for the regions of one server that this process launches.

    It holds the namespace of the process id, since containers may share /dev/shm and not their process ids.
    """
    return f"cortex-compile-{_process_namespace()}-{os.getpid()}-{secrets.token_hex(3)}-"


def remove_regions(prefix: str) -> None:
    """Remove the regions whose names start so. Those of other users stay."""
    for region in _regions():
        if region.name.startswith(prefix):
            with contextlib.suppress(OSError):
                region.unlink()


def close_regions(prefix: str) -> None:
    """Let no other user read the regions whose names start so: they hold requests and answers.

    Triton makes them readable, whatever its umask, and maps them once; whoever has one open keeps it.
    """
    for region in _regions():
        if region.name.startswith(prefix):
            with contextlib.suppress(OSError):  # gone, or another user's
                region.chmod(0o600)


def remove_regions_of_dead_launchers() -> None:
    """Remove the regions of launchers of this process namespace that are no longer alive."""
    for region in _regions():
        found = _NAME.match(region.name)
        if found and int(found["namespace"]) == _process_namespace() and not _is_alive(int(found["pid"])):
            with contextlib.suppress(OSError):
                region.unlink()


def choose_region_bytes(instances: int) -> int:
    """The size of each instance's region: as large as is useful, while all of them take a quarter of what is free.

    Raises:
        LaunchError: there is not room enough in /dev/shm.
    """
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError as error:
        raise LaunchError(f"{SHARED_MEMORY} cannot be used ({error}); tritonserver needs shared memory.") from error
    # Twice the smallest: a region that could not grow once would refuse the first larger request.
    needed = instances * 2 * SMALLEST_REGION
    if free < needed:
        raise LaunchError(
            f"{SHARED_MEMORY} has {free / MIB:.0f} MiB free, and {instances} model instances need at least "
            f"{needed // MIB} MiB. Enlarge it (docker run --shm-size=1g; mount -o remount,size=1g {SHARED_MEMORY}) or "
            "serve fewer instances."
        )
    size = LARGEST_REGION
    while size > SMALLEST_REGION and instances * size * 4 > free:
        size //= 2
    return size


def shared_memory_of_a_container(instances: int, largest_body_bytes: int) -> int:
    """How large a container's own /dev/shm may become: each instance's region, grown by its largest request and answer.

    It is a limit, and nothing is taken before it is used.
    """
    return instances * (2 * LARGEST_REGION + 2 * largest_body_bytes)


def _regions() -> list[Path]:
    try:
        return list(SHARED_MEMORY.iterdir())
    except OSError:
        return []


def _process_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
