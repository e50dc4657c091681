"""What may name an API, a model, a route or a file of a build: nothing that leads elsewhere."""

from __future__ import annotations

import posixpath
import re

__all__ = ["ENDPOINT", "MAX_NAME_LENGTH", "NAME", "is_endpoint", "is_file_name", "is_inside", "is_name", "is_variable"]

# Kubernetes allows 63, and Cortex added 21 characters to make the name of a pod.
MAX_NAME_LENGTH = 42
NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
ENDPOINT = "/?[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*/?"

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def is_name(text: str) -> bool:
    """Whether an API may have the name, which is also that of its model, its folder and its route."""
    return len(text) <= MAX_NAME_LENGTH and re.fullmatch(NAME, text) is not None


def is_endpoint(text: str) -> bool:
    return len(text) <= 1000 and re.fullmatch(ENDPOINT, text) is not None


def is_file_name(text: str) -> bool:
    """Whether a core or one of its models may have the name."""
    return len(text) <= 255 and _FILE_NAME.fullmatch(text) is not None


def is_inside(path: str) -> bool:
    """Whether a relative path, whatever its ``..``, leads to somewhere in the folder that it is relative to."""
    if not path or "\0" in path or path.startswith("/"):
        return False
    return posixpath.normpath(path).split("/", 1)[0] != ".."


def is_variable(name: str, value: str) -> bool:
    """Whether the system takes it as an environment variable."""
    return bool(name) and "=" not in name and "\0" not in name + value
