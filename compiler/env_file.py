"""``.env``: lines of ``NAME=value`` in a shell's language, without its substitutions."""

from __future__ import annotations

import re
from pathlib import Path

from cortex_compile.errors import ProjectError

__all__ = ["read_env_file"]

_ASSIGNMENT = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=
    (?:'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<bare>[^\s'"]*))
    (?:\s+\#.*|\s*)""",
    re.VERBOSE,
)


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a ``.env`` file, none where there is no such file.

    Raises:
        ProjectError: a line is not an assignment; its line is named, and its text, which may be a secret, is not.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: cannot be read ({type(error).__name__}). Save it as UTF-8 text.") from None
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            raise ProjectError(f"{path}:{number}: is not NAME=value. Put a value with spaces or quotes in quotes.")
        double = match["double"]
        quoted = match["single"] if double is None else re.sub(r"\\([\"\\$`])", r"\1", double)
        variables[match["name"]] = match["bare"] if quoted is None else quoted
    return variables
