"""requirements.txt against what is installed: missing packages stop, other versions are told."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from cortex_compile.errors import ProjectError

__all__ = ["Requirements", "installed_requirement", "read_requirements"]

_SOURCE = re.compile(r"^(?:(?:git|hg|svn|bzr)\+|https?://|file:|\.{0,2}/)")


@dataclass(frozen=True)
class Requirements:
    """``lines`` ask for what is installed here, since with that the answers were compared."""

    lines: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Line:
    text: str
    where: str


def read_requirements(path: Path) -> Requirements:
    """
    Raises:
        ProjectError: a line is not a requirement, or packages are not installed; all of them are named.
    """
    lines, notices, missing = [], [], []
    for line in _lines_of(path, ()):
        requirement = _parse(line)
        if requirement is None:
            notices.append(
                f"{line.where}: {line.text!r} comes from its source; whether it is installed is not checked."
            )
            lines.append(line.text)
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            lines.append(line.text)
        else:
            lines.append(installed_requirement(requirement.name, found))
            notices.append(f"{line.where}: asks for {line.text!r}; {found} is installed and is what was compiled with.")
    if missing:
        one = len(missing) == 1
        raise ProjectError(
            f"{path}: {', '.join(missing)} {'is' if one else 'are'} not installed."
            f" Install {'it' if one else 'them'}: pip install -r {path}"
        )
    return Requirements(tuple(lines), tuple(notices))


def installed_requirement(name: str, version: str) -> str:
    """``name==version``, without the local part (``+cpu``), which no package index knows."""
    return f"{name}=={Version(version).public}"


def _lines_of(path: Path, parents: tuple[Path, ...]) -> Iterator[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not parents:
            return
        raise ProjectError(f"{parents[-1]}: names {str(path)!r}, which is not there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: cannot be read ({error}).") from error
    continued, start = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        start = start if continued else number
        if raw.endswith("\\"):
            continued += raw[:-1]
            continue
        line, continued = re.sub(r"(^|\s)#.*$", "", continued + raw).strip(), ""
        include = re.match(r"(?:-r|--requirement)[\s=]*(\S.*)", line)
        if include and path not in parents:
            yield from _lines_of(path.parent / include[1], (*parents, path))
        elif line and not line.startswith("-"):
            # What follows the requirement are pip's own options, such as --hash.
            yield _Line(" ".join(re.split(r"\s--?[a-z]", line)[0].split()), f"{path}:{start}")


def _parse(line: _Line) -> Requirement | None:
    if _SOURCE.match(line.text):
        return None
    try:
        return Requirement(line.text)
    except InvalidRequirement as error:
        problem = str(error).splitlines()[0]
        raise ProjectError(f"{line.where}: {line.text!r} is not a requirement: {problem}") from None
