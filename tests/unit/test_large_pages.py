"""Who gets large pages: tritonserver wherever it is started, unless told otherwise; and for what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cortex_compile.launchers import docker_inside
from cortex_compile.launchers.docker_container import container_settings
from cortex_compile.launchers.large_pages import with_large_pages
from cortex_compile.launchers.server_folder import server_environment

from .test_docker_container import PLAN

VARIABLE = "GLIBC_TUNABLES"
ASKED_FOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864"
    ":glibc.malloc.arena_max=1"
)


def embedded() -> dict[str, str]:
    folder: Any = SimpleNamespace(libraries=Path("/libraries"))
    return server_environment(folder, folder)


def test_the_embedded_server_gets_them_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert embedded()[VARIABLE] == ASKED_FOR
    monkeypatch.setenv(VARIABLE, "glibc.malloc.hugetlb=0")
    assert embedded()[VARIABLE] == "glibc.malloc.hugetlb=0"


def test_so_does_the_one_of_an_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tritonserver").touch()
    monkeypatch.setattr(docker_inside, "SERVER_ROOT", tmp_path)
    monkeypatch.setenv(docker_inside.VERSION_VARIABLE, "2.70.0")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert docker_inside.prepare_server_of_the_image().environment[VARIABLE] == ASKED_FOR


def test_so_does_one_in_a_container() -> None:
    assert container_settings(PLAN)["environment"][VARIABLE] == ASKED_FOR


ON_REQUEST = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# As a predictor's process: weights that are each smaller than a large page, loaded by a thread.
LOAD = """
import re, threading
import numpy as np
weights = []
thread = threading.Thread(target=lambda: weights.extend(np.ones(150_000, np.float32) for _ in range(64)))
thread.start()
thread.join()
print(re.search(r"AnonHugePages: *([0-9]+)", open("/proc/self/smaps_rollup").read())[1])
"""


@pytest.mark.skipif(
    not ON_REQUEST.exists() or "[never]" in ON_REQUEST.read_text(), reason="the system gives no large pages on request"
)
def test_small_weights_that_a_thread_loads_lie_in_them() -> None:
    without = {name: value for name, value in os.environ.items() if name != VARIABLE}
    loaded = [sys.executable, "-c", LOAD]
    in_large_kib = int(subprocess.check_output(loaded, env=with_large_pages(without), text=True))
    assert in_large_kib > 64 * 600 / 2
