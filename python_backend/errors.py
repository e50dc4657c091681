"""The base of the error tree and the errors that a running model raises.

The whole tree is drawn in ``cortex_compile/errors.py``; these stand here because this folder is copied into every
build and may import nothing from outside it.
"""

from __future__ import annotations

__all__ = ["BuildError", "CoreOverloaded", "CortexCompileError", "PredictorError"]


class CortexCompileError(Exception):
    """Anything this project reports to a person. The message says what, where, what was expected and what to do."""

    exit_code = 1


class CoreOverloaded(BaseException):
    """More calls wait for a compiled module than it can answer; the request gets ``status_code``.

    Its own forward could answer, but all that are turned away at once would run it beside each other, when there is
    least to spare. No Exception: a predictor's ``except Exception`` must not make an answer of it.
    """

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class PredictorError(CortexCompileError):
    """The user's predictor breaks its contract or raised; the message names the user's file and line."""


class BuildError(CortexCompileError):
    """A folder is not a build, or a file of a build is missing, truncated or edited."""
