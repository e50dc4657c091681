"""Whether a module is the one that was compiled: its class and code, libraries, structure, weights.

Attributes and globals are compared at each call: predict may set them before.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .fingerprint import (
    class_name,
    library_version,
    packages_of,
    structure_sha256,
    weights_sha256,
)
from .manifest import Core, Manifest, sha256_of

__all__ = ["find_drift", "hooked_part"]


def find_drift(core: Core, module: Any, manifest: Manifest, version_folder: Path) -> str | None:
    """What differs from what was compiled, in a sentence that names no path of this machine; or None."""
    if module is None:
        return f"the predictor has no module at {core.path}"
    if class_name(module) != core.class_name:
        return f"it is a {class_name(module)}, compiled was a {core.class_name}"
    for package in sorted(packages_of(module)):
        compiled_with = manifest.compiled_with.get(package)
        if compiled_with is not None and compiled_with != library_version(package):
            return f"{package} is {library_version(package)}, compiled with {compiled_with}; compile again"
    changed_file = _changed_file(module, manifest, version_folder)
    if changed_file is not None:
        return f"its code in {changed_file} was changed after compiling; compile again"
    if structure_sha256(module) != core.structure_sha256:
        return "its structure or config differs from the compiled one; compile again"
    if weights_sha256(module) != core.weights_sha256:
        return "its weights differ from the compiled ones; compile again"
    if hooked_part(module) is not None:
        return f"its part {hooked_part(module)!r} has a hook, which a compiled module would not call"
    return None


def _changed_file(module: Any, manifest: Manifest, version_folder: Path) -> str | None:
    """The first of the user's own files that defines a part of the module and is not the one that was shipped."""
    project = (version_folder / "project").resolve()
    for name in sorted({type(part).__module__ for part in module.modules()}):
        file = getattr(sys.modules.get(name), "__file__", None)
        path = None if file is None else Path(file).resolve()
        if path is None or not path.is_relative_to(project):
            continue
        inside = path.relative_to(project).as_posix()
        expected = manifest.files.get(f"{manifest.name}/1/project/{inside}")
        if expected is not None and sha256_of(path) != expected:
            return inside
    return None


def hooked_part(module: Any) -> str | None:
    """The name of a submodule (not the module itself) that has a forward hook, or None."""
    for name, part in module.named_modules():
        if name and (part._forward_hooks or part._forward_pre_hooks):
            return str(name)
    return None
