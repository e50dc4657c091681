"""What a process says of itself for whoever looks from outside."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from cortex_compile.python_backend.deadlines import FOLDER_VARIABLE, Deadlines


def test_a_client_that_waits_for_less_ends_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    deadlines = Deadlines(1, at_least_s=60)

    def left_s() -> float:
        (deadline,) = np.fromfile(tmp_path / str(os.getpid()))
        return float(deadline) - time.monotonic()

    for timeout_s, expected in ((0.001, 60), (0, 60), (600, 600)):
        with deadlines.within(timeout_s):
            assert expected - 20 < left_s() <= expected
    with deadlines.within(None):
        assert left_s() < 0
