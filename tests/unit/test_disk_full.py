"""A full disk is told in a line that names it."""

from __future__ import annotations

import errno
import os

import pytest

from cortex_compile.cli.failures import exit_code_for
from cortex_compile.errors import disk_full


def test_a_full_disk_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/weights.bin")
    assert exit_code_for(full) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: No space left on device to write '/somewhere/weights.bin': free some")
    assert said.count("\n") == 1


def test_other_errors_are_not_taken_for_it() -> None:
    assert disk_full(OSError(errno.EACCES, "Permission denied")) is None
    assert disk_full(ValueError("x")) is None
