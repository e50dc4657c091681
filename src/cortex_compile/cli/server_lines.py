"""Which lines of Triton's log a person who serves a predictor wants to see."""

from __future__ import annotations

import re

import click

__all__ = ["ServerLines", "readable"]

_OF_TRITON = re.compile(r"\S+Z (?P<level>[A-Z]) \d+ \w+\.cc:\d+\] (?P<message>.*)")
_OF_RUNTIME = re.compile(r'(?P<head>\S+Z [A-Z]) \d+ \w+\.py:\d+\] "(?P<message>.*)"')
# What a machine without a GPU is told at each start, and each server that is told to end.
_OF_NO_USE = ("CudaDriverHelper has not been initialized", "Failed to initialize NVML", "Signal (15) received.")
# At its start, a model that does not load is told of three times, with what called what in there; the launcher's error
# tells it once.
_NOT_LOADED = ('"ERROR: Failed to create instance', "\"failed to load '")
_NOT_STARTED = "error: creating server: "
# The same from its Python process: in an image that lacks a package, say. Frames follow.
_STUB_FAILED = re.compile(r"I\d{4} \S+ +\d+ pb_stub\.cc:\d+\] ")
_OF_FRAMES = ("", "At:")
_STARTED = "Started GRPCInferenceService"


class ServerLines:
    """Shows on stderr what predictors print and log, and Triton's errors; not its own notes and tables."""

    def __init__(self) -> None:
        self._in_table = False
        self._in_frames = False
        self._is_starting = True
        self._is_ending = False

    def show(self, line: str) -> None:
        if self.is_wanted(line):
            click.echo(readable(line), err=True)

    def is_wanted(self, line: str) -> bool:
        self._is_starting = self._is_starting and _STARTED not in line
        # It is the last thing that a server says.
        self._is_ending = self._is_ending or line.startswith(_NOT_STARTED)
        noise = (*_OF_NO_USE, *_NOT_LOADED) if self._is_starting else _OF_NO_USE
        if self._is_ending or any(words in line for words in noise):
            return False
        if self._is_starting:
            begins = _STUB_FAILED.match(line) is not None
            self._in_frames = begins or (self._in_frames and (line in _OF_FRAMES or line.startswith("  ")))
            if self._in_frames:
                return False
        if self._in_table:
            self._in_table = line.startswith(("+", "|"))
            if self._in_table or not line:  # an empty line ends it
                return False
        found = _OF_TRITON.match(line)
        # The line before a table has no message of its own.
        self._in_table = found is not None and not found["message"].strip()
        return found is None or found["level"] not in "IW"


def readable(line: str) -> str:
    """A line of the runtime's as it was logged: Triton writes one with a traceback in it as one long line.

    What follows is indented, so that no line of a message passes for one of the log; other escapes stay.
    """
    found = _OF_RUNTIME.fullmatch(line)
    if found is None:
        return line
    message = re.sub(r'\\(["\\n])', lambda escaped: "\n    " if escaped[1] == "n" else escaped[1], found["message"])
    return f"{found['head']} {message}"
