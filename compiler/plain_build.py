"""A build without its compiled modules: the same predictor as it is, to be compared with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from cortex_compile.compiler.hard_links import link_or_copy
from cortex_compile.compiler.write_build import write_both_manifests
from cortex_compile.python_backend.manifest import read_manifest

__all__ = ["write_plain_build"]


def write_plain_build(build: Path, target: Path) -> None:
    """Write into ``target``, which must not exist, what ``--no-compile`` would have made of the project in ``build``.

    Raises:
        BuildError: ``build`` is not a build.
    """
    manifest = read_manifest(build / "manifest.json")
    name = manifest.name
    left_out = {variant.graph for core in manifest.cores if core.placement == "remote" for variant in core.variants}
    files = {
        path: digest
        for path, digest in manifest.files.items()
        if path.split("/")[0] not in left_out and not path.startswith(f"{name}/1/cores/")
    }
    for path in files:
        copy = target / "model_repository" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        _link(build / "model_repository" / path, copy)
    write_both_manifests(replace(manifest, cores=(), files=files, dispatch=None), target)


def _link(source: Path, copy: Path) -> None:
    """The project's files are copied: a predictor may write into them."""
    if "project" in source.parts:
        shutil.copyfile(source, copy)
    else:
        link_or_copy(source, copy)
