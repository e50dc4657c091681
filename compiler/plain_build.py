"""A build without its compiled modules: the same predictor as it is, to be compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cortex_compile.compiler.reconfigure_build import copy_python
from cortex_compile.compiler.write_build import finish_build
from cortex_compile.python_backend.manifest import read_manifest

__all__ = ["write_plain_build"]


def write_plain_build(build: Path, target: Path) -> None:
    """Write into ``target``, which must not exist, what ``--no-compile`` would have made of the project in ``build``.

    Raises:
        BuildError: ``build`` is not a build.
    """
    manifest = read_manifest(build / "manifest.json")
    copy_python(build, target, manifest)
    finish_build(replace(manifest, cores=(), gpu_memory=(), dispatch=None), target)
