"""Read a YAML file as Cortex did, and remember on which line each key stands."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cortex_compile.errors import ProjectError

__all__ = ["YamlFile", "read_yaml"]

Key = str | int

_MOST_VALUES = 100_000


@dataclass(frozen=True)
class YamlFile:
    """A parsed file. ``root`` is PyYAML's node tree, which knows the lines."""

    path: Path
    value: Any
    root: yaml.Node | None

    def line_of(self, keys: tuple[Key, ...]) -> int:
        """The line of the key, or of the nearest part of the way to it that stands in the file."""
        node, line = self.root, 1 if self.root is None else self.root.start_mark.line + 1
        for key in keys:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
        return line

    def at(self, *keys: Key) -> str:
        """``FILE:LINE`` of a key, the way that editors and terminals open."""
        return f"{self.path}:{self.line_of(keys)}"


def read_yaml(path: Path) -> YamlFile:
    """
    Raises:
        ProjectError: the file cannot be read, is not YAML, or has one key twice; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProjectError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path}: is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        loader = _CortexLoader(text)
        try:
            root = loader.get_single_node()
            _count_values(root, {})
            return YamlFile(path, None if root is None else loader.construct_document(root), root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ProjectError(f"{path}{where}: is not valid YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ProjectError(f"{path}: is not valid YAML: {' '.join(str(error).split())}.") from None


def _child(node: yaml.Node | None, key: Key) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        child = node.value[key]
        return child.start_mark.line + 1, child
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == str(key):
                return key_node.start_mark.line + 1, value_node
    return None


def _count_values(node: yaml.Node | None, counted: dict[yaml.Node, int | None]) -> int:
    """How many values there are where each alias is written out: a few lines of them can stand for billions."""
    if node in counted:
        count = counted[node]
        if count is None:
            raise _problem("an alias stands for what it is itself a part of", node)
        return count
    if not isinstance(node, yaml.CollectionNode):
        return 1
    counted[node] = None
    pairs = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = counted[node] = 1 + sum(_count_values(part, counted) for part in pairs)
    if count > _MOST_VALUES:
        raise _problem(f"its aliases stand for more than {_MOST_VALUES} values", node)
    return count


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


class _CortexLoader(yaml.SafeLoader):
    """SafeLoader that reads scalars as Cortex's Go parser did, and refuses one key twice.

    PyYAML takes ``1e-5`` for text, ``12:30`` for 750 and ``2020-01-01`` for a date object, which JSON cannot hold.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise _problem(f"the key {key.value!r} stands twice, first on line {seen[key.value]}", key)
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_REPLACED = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_CortexLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_CortexLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z"),
    list("-+0123456789"),
)
_CortexLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"),
    list("-+.0123456789"),
)
