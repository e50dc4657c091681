from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers import shared_memory
from cortex_compile.launchers.shared_memory import (
    MIB,
    choose_region_bytes,
    new_region_prefix,
    remove_regions,
    remove_regions_of_dead_launchers,
)

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("instances", "free_mib", "region_mib"), [(1, 24000, 16), (2, 64, 8), (4, 64, 4), (16, 64, 1), (32, 64, 1)]
)
def test_a_region_is_as_large_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, instances: int, free_mib: int, region_mib: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free_mib * MIB))
    assert choose_region_bytes(instances) == region_mib * MIB


def test_too_little_shared_memory_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 64 * MIB))
    with pytest.raises(LaunchError, match=r"64 MiB free, and 33 model instances need at least 66 MiB.*--shm-size"):
        choose_region_bytes(33)


def test_only_regions_of_one_server_are_removed(folder: Path) -> None:
    mine, other = new_region_prefix(), new_region_prefix()
    (folder / f"{mine}uuid").touch()
    (folder / f"{other}uuid").touch()
    remove_regions(mine)
    assert [path.name for path in folder.iterdir()] == [f"{other}uuid"]


def test_regions_of_launchers_that_are_alive_or_elsewhere_stay(folder: Path) -> None:
    namespace = os.stat("/proc/self/ns/pid").st_ino
    dead = 2**22 + 1  # above the largest process id that Linux gives
    stay = {
        f"cortex-compile-{namespace}-{os.getpid()}-aa-uuid",
        f"cortex-compile-{namespace + 1}-{dead}-aa-uuid",
        f"triton_python_backend_shm_region_{dead}",
    }
    for name in (*stay, f"cortex-compile-{namespace}-{dead}-aa-uuid"):
        (folder / name).touch()
    remove_regions_of_dead_launchers()
    assert {path.name for path in folder.iterdir()} == stay
