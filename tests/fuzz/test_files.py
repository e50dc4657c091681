"""cortex.yaml and manifest.json, edited at random: they read, or one line says what is wrong and where."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cortex_compile.compiler.read_project import read_projects
from cortex_compile.errors import BuildError, ProjectError, UsageError
from cortex_compile.python_backend.manifest import read_manifest

from .conftest import PROJECT
from .examples import examples

YAML = """\
- name: fuzz
  kind: RealtimeAPI
  predictor:
    type: python
    path: predictor.py
    config: {a: 1, b: [x, 1.5, true, null], c: {d: "e"}}
    env: {KEY: value}
    processes_per_replica: 2
    threads_per_process: 3
    log_level: info
    server_side_batching: {max_batch_size: 8, batch_interval: 0.1s}
  compute: {cpu: 200m, mem: 512Mi, gpu: 0}
  autoscaling:
    min_replicas: 1
    max_replica_concurrency: 100
    window: 60s
  update_strategy: {max_surge: 25%, max_unavailable: 1}
  networking:
    endpoint: /fuzz/it
  compile:
    samples: [sample.json]
    request_timeout: 10s
    max_body_bytes: 1000
    buckets: [8, 16]
- name: split
  kind: TrafficSplitter
  apis: [{name: fuzz, weight: 100}]
"""
LAUGHS = """\
- name: fuzz
  predictor:
    type: python
    path: predictor.py
    config:
      a0: &a0 [x, x, x, x, x, x, x, x, x]
"""
LAUGHS += "".join(f"      a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))

_WORDS = st.sampled_from(
    ["", " ", "  ", "\t", "\n", ":", ": ", "- ", "?", "|", ">", "&a ", "*a", "<<: *a",
     "!!python/object/apply:os.system [x]",
     "!!binary x", "!!set {a}",
     "{", "}", "[", "]", '"', "'", "#", "%YAML 9", "---\n", "...\n", "\0", "\x07", "\ufeff", "é", "💥",
     "../../etc/passwd", "/etc/passwd", "a\\b", "null", "~", "yes", "0x1f", "0o7", "1e999", "-1", ".nan", ".inf",
     "9" * 400,
     "2020-01-01", "12:30", "1_000", "name: x", "path: ..", "kind: BatchAPI", "endpoint: //", "endpoint: /metrics",
     "request_timeout: 1e308", "max_body_bytes: 0", "config: 1", "env: {'': ''}", "env: {'A=B': x}", "[" * 400,
     "? [a]: b"]
)  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, text: str) -> str:
    """A text with a few of its parts replaced, left out or said twice."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 3, 10, 40])))
        other = draw(_WORDS | st.text(max_size=4) | st.just(text[start:end] * 2))
        text = text[:start] + other + text[end:]
    return text


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(PROJECT / "predictor.py", folder)
    (folder / "sample.json").write_text("1")
    return folder


def test_the_yaml_that_is_edited_is_right(project: Path) -> None:
    (project / "cortex.yaml").write_text(YAML)
    (found,) = _read(project)
    assert found.name == "fuzz"


def _read(project: Path) -> Any:
    return read_projects(project / "cortex.yaml", config=None, samples=(), name=None, settings_overrides={})


@examples(0.2)
@given(edited(YAML))
@example(LAUGHS)
@example("- name: fuzz\n  predictor: &a\n    type: python\n    path: predictor.py\n    config: {a: *a}\n")
@example("\ufeff" + YAML)
def test_an_edited_cortex_yaml(project: Path, text: str) -> None:
    path = project / "cortex.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = _read(project)
    except (ProjectError, UsageError) as error:
        problem = str(error)
    else:
        assert all(api.name for api in found)
        return
    assert problem.splitlines() == [problem], problem
    assert str(project) in problem
    assert len(problem) < 1500
    # By line, but for what is wrong with the whole file or with what it names.
    named = re.search(r"cortex\.yaml:\d+", problem)
    assert named or "is not valid YAML" in problem or "has no API" in problem or "cortex.yaml: " not in problem, problem


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest") / "manifest.json"


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["../x", "/", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def replaced(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one part of it, however deep, replaced, left out or added."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 4)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(list(keys)))
        copy: Any = dict(value) if isinstance(value, dict) else list(value)
        if draw(st.integers(0, 9)) == 0:
            del copy[key]
        else:
            copy[key] = draw(replaced(value[key]))
        return copy
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(st.text(max_size=5)): draw(_JSON)}
    return draw(_JSON)


def _written(manifest: dict[str, Any]) -> st.SearchStrategy[bytes]:
    text = json.dumps(manifest, indent=1)
    return replaced(manifest).map(lambda value: json.dumps(value).encode()) | edited(text).map(
        lambda value: value.encode("utf-8", "surrogatepass")
    )


_HASH = "0" * 64
_MANIFEST: dict[str, Any] = {
    "version": 1, "name": "fuzz", "endpoint": "/fuzz", "predictor": "predictor.py", "config": {"a": [1]},
    "env": {"A": "b"},
    "python_path": "lib", "log_level": "info", "processes_per_replica": 1, "threads_per_process": 1,
    "max_replica_concurrency": 1024, "requirements": ["numpy"], "compiled_with": {"torch": "2"},
    "files": {"fuzz/1/model.py": _HASH, "fuzz--net/1/model.onnx": _HASH},
    "request_timeout_s": 60, "max_body_bytes": 1000,
    "server_side_batching": {"max_batch_size": 8, "batch_interval_s": 0.1},
    "models": {"folders": {"a": "models/a"}, "directory": None, "cache_size": 2},
    "cores": [{
        "name": "net", "path": "predictor.net", "class_name": "p.Net", "structure_sha256": _HASH,
        "weights_sha256": _HASH, "attributes": [{"module": "", "name": "scale", "value": 2}],
        "engine": "onnxruntime", "placement": "remote",
        "threads": 1, "weights_file": "cores/net/weights.bin",
        "parameters": [{"name": "w", "dtype": "float32", "shape": [2, 3], "offset": 0}],
        "variants": [{
            "name": "first", "arguments": "{}", "argument_leaves": [{"tensor": 0}, {"constant": {"x": [1]}}],
            "result": "{}",
            "result_leaves": [{"tensor": 0}], "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 3]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch"]}],
            "dimensions": [{"name": "batch", "minimum": 0, "maximum": 8, "typical": 1}], "batch_dimension": "batch",
            "graph": "fuzz--net", "positions": [{"index": 0, "dimension": None, "offset": 0}],
        }],
    }],
}  # fmt: skip


@examples(0.2)
@given(_written(_MANIFEST))
@example(json.dumps(_MANIFEST).encode())
def test_an_edited_manifest(manifest: Path, data: bytes) -> None:
    manifest.write_bytes(data)
    try:
        found = read_manifest(manifest)
    except BuildError as error:
        problem = str(error)
        assert problem.splitlines() == [problem], problem
        assert str(manifest.parent) in problem
        assert len(problem) < 1500
    else:
        assert found.name.isascii()
        assert ".." not in found.name
