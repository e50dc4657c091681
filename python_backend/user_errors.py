"""Name the place in the user's own files that an exception came from."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .errors import PredictorError

__all__ = ["INSTALLED", "describe_error", "find_user_line", "user_traceback"]

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of libraries, which are not the user's wherever they lie."""


def describe_error(error: BaseException, project: Path, otherwise: str | None = None) -> str:
    """One line: ``FILE:LINE: Type: text``, of the innermost frame that is the user's.

    ``otherwise`` is the place of an exception that never passed through the user's files. A ``PredictorError`` already
    names its own.
    """
    if isinstance(error, PredictorError):
        return str(error)
    for link in _chain(error):
        place = find_user_line(link, project)
        if place is not None:
            return f"{place}: {_name_and_text(link)}"
    return f"{otherwise}: {_name_and_text(error)}" if otherwise else _name_and_text(error)


def find_user_line(error: BaseException, project: Path) -> str | None:
    """``FILE:LINE`` of the innermost frame inside the project, libraries installed below it left out."""
    root = project.resolve()
    if isinstance(error, SyntaxError) and error.filename and _is_user_file(Path(error.filename), root):
        return f"{error.filename}:{error.lineno or 1}"
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if _is_user_file(Path(frame.f_code.co_filename), root):
            return f"{frame.f_code.co_filename}:{line}"
    return None


def user_traceback(
    error: BaseException, project: Path
) -> tuple[type[BaseException], BaseException, TracebackType] | None:
    """What to log of an exception: from the first frame that is the user's on. None if it passed through no such."""
    root = project.resolve()
    for link in _chain(error):
        entry = link.__traceback__
        while entry is not None and not _is_user_file(Path(entry.tb_frame.f_code.co_filename), root):
            entry = entry.tb_next
        if entry is not None:
            return type(link), link, entry
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from: a library may wrap what the user's code raised inside it."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_user_file(path: Path, root: Path) -> bool:
    resolved = path.resolve()
    if not resolved.is_relative_to(root):
        return False
    return INSTALLED.isdisjoint(resolved.relative_to(root).parts)


def _name_and_text(error: BaseException) -> str:
    # A SyntaxError's own text repeats the file and the line.
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    name = type(error).__name__
    return f"{name}: {text}" if text else name
