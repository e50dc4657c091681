"""The runtime's log goes to Triton's; what the user prints or logs goes to stderr as it comes."""

from __future__ import annotations

import io
import logging
import os
import sys

__all__ = ["RUNTIME_LOGGER", "start_logging"]

RUNTIME_LOGGER = "cortex_compile"
"""Its children are the runtime's own loggers."""

_USER_LOGGER = "cortex"
"""What ``from cortex_internal.lib.log import logger`` gives."""


def start_logging(log_level: str, model_name: str) -> None:
    """Called once in a stub's process. ``log_level`` is cortex.yaml's word: debug, info, warning or error."""
    _send_prints_to_stderr()
    level = logging.getLevelNamesMapping()[log_level.upper()]
    _start(RUNTIME_LOGGER, _TritonHandler(), f"{model_name}: %(message)s", level)
    _start(_USER_LOGGER, logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s", level)


def _start(name: str, handler: logging.Handler, pattern: str, level: int) -> None:
    handler.setFormatter(logging.Formatter(pattern))
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _send_prints_to_stderr() -> None:
    """Python buffers stdout when it is not a terminal, so a print would show up minutes late or never."""
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=True)


class _TritonHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        import triton_python_backend_utils as pb_utils

        self._triton = pb_utils.Logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Triton hides "verbose" unless the whole server is verbose; our level was decided before.
            if record.levelno >= logging.ERROR:
                self._triton.log_error(self.format(record))
            elif record.levelno >= logging.WARNING:
                self._triton.log_warn(self.format(record))
            else:
                self._triton.log_info(self.format(record))
        except Exception:
            self.handleError(record)
