"""Whether what a manifest says can be a build: names, paths that stay inside it, and numbers that make sense."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .names import is_endpoint, is_file_name, is_inside, is_name, is_variable
from .request import LONGEST_TIMEOUT_S

if TYPE_CHECKING:
    from .manifest import Core, Manifest

__all__ = ["check_manifest"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST = 2**31 - 1  # what Triton's and gRPC's own fields hold


def check_manifest(manifest: Manifest) -> None:
    """
    Raises:
        ValueError: a field that no compile would have written; it is named.
    """
    problem = next(_problems(manifest), None)
    if problem is not None:
        field, value, expected = problem
        raise ValueError(f"{field}: expected {expected}, found {value!r:.80}")


def _problems(manifest: Manifest) -> Iterator[tuple[str, Any, str]]:
    if not is_name(manifest.name):
        yield "name", manifest.name, "the name of an API: lower-case letters, digits and '-'"
    if not is_endpoint(manifest.endpoint):
        yield "endpoint", manifest.endpoint, "a path of letters, digits, '-', '_', '.', '~' and '/'"
    for field in ("predictor", "python_path"):
        path = getattr(manifest, field)
        if path is not None and not is_inside(path):
            yield field, path, "a path inside the project"
    for key, value in manifest.env.items():
        if not is_variable(key, value):
            yield f"env[{key!r:.80}]", value, "an environment variable"
    for field in ("processes_per_replica", "threads_per_process", "max_replica_concurrency", "max_body_bytes"):
        if not 1 <= getattr(manifest, field) <= _MOST:
            yield field, getattr(manifest, field), f"a number from 1 to {_MOST}"
    if not 0 < manifest.request_timeout_s <= LONGEST_TIMEOUT_S:
        yield "request_timeout_s", manifest.request_timeout_s, "a number of seconds"
    for path, digest in manifest.files.items():
        if not _is_file_of_build(path, manifest.name):
            yield "files", path, f"the path of a file in the model repository of {manifest.name!r}"
        if _SHA256.fullmatch(digest) is None:
            yield f"files[{path!r:.80}]", digest, "a sha256 in hex"
    if manifest.dispatch is not None and not 1 <= manifest.dispatch.shared_rows <= _MOST:
        yield "dispatch.shared_rows", manifest.dispatch.shared_rows, f"a number from 1 to {_MOST}"
    for index, core in enumerate(manifest.cores):
        yield from _problems_of_core(core, f"cores[{index}]", manifest.name)


def _problems_of_core(core: Core, where: str, api: str) -> Iterator[tuple[str, Any, str]]:
    for field in ("name", "engine"):
        if not is_file_name(getattr(core, field)):
            yield f"{where}.{field}", getattr(core, field), "letters, digits, '_', '-' and '.'"
    if core.weights_file is not None and not is_inside(core.weights_file):
        yield f"{where}.weights_file", core.weights_file, "a path inside the version folder"
    shared = core.shared_run
    if shared is not None:
        crowd = 1 if shared.side_by_side_from is None else shared.side_by_side_from
        if min(shared.rows, shared.cells, crowd) < 1:
            yield f"{where}.shared_run", shared, "numbers from 1"
    for index, variant in enumerate(core.variants):
        place = f"{where}.variants[{index}].graph"
        if core.placement == "local" and not is_inside(variant.graph):
            yield place, variant.graph, "a path inside the version folder"
        if core.placement == "remote" and not _is_model_of(variant.graph, api):
            yield place, variant.graph, f"the name of a model, '{api}--…'"


def _is_file_of_build(path: str, api: str) -> bool:
    folder = path.partition("/")[0]
    return is_inside(path) and posixpath.normpath(path) == path and (folder == api or _is_model_of(folder, api))


def _is_model_of(name: str, api: str) -> bool:
    return name.startswith(f"{api}--") and is_file_name(name)
