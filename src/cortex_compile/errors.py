"""Every error this project raises on purpose.

CortexCompileError           exit code 1; anything that a person is told
├── UsageError               exit code 2; the command line: no such file, unknown engine, two builds of one name
├── ProjectError             cortex.yaml, config file, sample or output folder
├── PredictorError           the user's predictor: import, class, signature, __init__, predict on a sample
├── BuildError               a folder is not a build, or a file in it is damaged
├── EngineError              an engine is missing or failed where it had to work
├── LaunchError              the server: not installed, port taken, model that does not load
└── ServiceError             a running service did not answer as it should

CoreOverloaded, in python_backend/errors.py, passes through a predictor like a KeyboardInterrupt, and is told to a
client only.
"""

from __future__ import annotations

import errno

from cortex_compile.python_backend.errors import BuildError, CortexCompileError, PredictorError

__all__ = [
    "BuildError",
    "CortexCompileError",
    "EngineError",
    "LaunchError",
    "PredictorError",
    "ProjectError",
    "ServiceError",
    "UsageError",
    "disk_full",
]


class UsageError(CortexCompileError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class ProjectError(CortexCompileError):
    """A file of the user's project (cortex.yaml, config, sample) or the output folder cannot be used."""


def disk_full(error: BaseException) -> ProjectError | None:
    """What a person is told where a disk, or what one may use of it, is full; None where that is not what happened."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" to write {error.filename!r}" if error.filename else ""
        return ProjectError(
            f"{error.strerror}{where}: free some where builds, temporary files (TMPDIR) and the cache are"
        )
    return None


class EngineError(CortexCompileError):
    """An engine is not installed or failed where there was no other way on."""


class LaunchError(CortexCompileError):
    """A server could not be started, or ended by itself."""


class ServiceError(CortexCompileError):
    """A running service could not be reached or answered against its contract."""
