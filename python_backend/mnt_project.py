"""Cortex put every project at ``/mnt/project``. Where the user's sources write that path, it is the project's folder.

Constants of the project's Python files are changed as they are imported, and values of config and env before they are
used. So whatever opens the path gets the real one, libraries in C too, and nothing of Python itself is patched. A
path that is put together of other pieces, or read from a file, stays what it is. Where there is a ``/mnt/project``,
nothing is changed.
"""

from __future__ import annotations

import ast
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from .user_errors import INSTALLED

__all__ = ["MOUNT", "map_imports", "map_values", "names_mount", "source_loader"]

_LOGGER = logging.getLogger("cortex_compile.runtime")

MOUNT = "/mnt/project"

_NAMED = re.compile(rf"(?<![\w.-]){MOUNT}(?![\w.-])")


def names_mount(text: str) -> bool:
    return _NAMED.search(text) is not None


def map_values(value: Any, project: Path) -> Any:
    """The same JSON value with the project's folder for ``/mnt/project`` in its texts."""
    if os.path.exists(MOUNT):
        return value
    if isinstance(value, str):
        return _replace(value, project)
    if isinstance(value, dict):
        return {key: map_values(item, project) for key, item in value.items()}
    if isinstance(value, list):
        return [map_values(item, project) for item in value]
    return value


def map_imports(project: Path) -> None:
    """Have files of the project that name the path imported with the real one."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _ProjectFinder)]
    found = [] if os.path.exists(MOUNT) else list(_files_naming_mount(project))
    if found:
        _LOGGER.info("%s stands for %s, since %s name it", MOUNT, project, ", ".join(found))
        place = next((i for i, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
        sys.meta_path.insert(place, _ProjectFinder(project, {str(project / name) for name in found}))


def source_loader(name: str, file: Path, project: Path) -> SourceFileLoader:
    """What imports a file of the project."""
    if os.path.exists(MOUNT) or not names_mount(_text_of(file)):
        return SourceFileLoader(name, str(file))
    return _MappingLoader(name, str(file), project)


def _replace(text: str, project: Path) -> str:
    return _NAMED.sub(lambda _: str(project), text)


def _files_naming_mount(project: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if name not in INSTALLED and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(".py") and names_mount(_text_of(path)):
                yield path.relative_to(project).as_posix()


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class _ProjectFinder:
    def __init__(self, project: Path, files: set[str]) -> None:
        self._project = project
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or os.path.realpath(spec.origin) not in self._files:
            return None
        spec.loader = _MappingLoader(name, spec.origin, self._project)
        return spec


class _MappingLoader(SourceFileLoader):
    def __init__(self, name: str, path: str, project: Path) -> None:
        super().__init__(name, path)
        self._project = project

    def path_stats(self, path: str) -> Any:
        """Compiled code is neither read nor kept: it would hold a folder that may move."""
        raise OSError(path)

    # typeshed has it as a static method of two arguments; the import system calls it as it is here.
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        tree = _Mapping(self._project).visit(ast.parse(data, path))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
        return code


class _Mapping(ast.NodeTransformer):
    def __init__(self, project: Path) -> None:
        self._project = project

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str):
            node.value = _replace(node.value, self._project)
        elif isinstance(node.value, bytes):
            node.value = os.fsencode(_replace(os.fsdecode(node.value), self._project))
        return node
