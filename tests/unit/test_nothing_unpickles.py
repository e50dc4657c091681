"""What reads a build, or talks to a client, makes no code of data: no pickle in any of its forms, no eval, no shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("backends", "compiler", "facade", "launchers", "python_backend", "src/cortex_compile", "model_repo_template")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"}
CALLS = {"read_pickle", "unsafe_load", "full_load"}
CALLS_OF = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("yaml", "load"), ("os", "system"), ("os", "popen")}
BUILT_IN = {"eval", "exec", "__import__"}


def _problems(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {name.name}" for name in node.names if name.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield f"imports from {node.module}"
        elif isinstance(node, ast.Call):
            yield from _problems_of_call(node)


def _problems_of_call(node: ast.Call) -> Iterator[str]:
    function = node.func
    if isinstance(function, ast.Name) and function.id in BUILT_IN:
        yield f"calls {function.id}"
    if isinstance(function, ast.Attribute):
        of = function.value.id if isinstance(function.value, ast.Name) else ""
        if function.attr in CALLS or (of, function.attr) in CALLS_OF:
            yield f"calls {of}.{function.attr}"
    for keyword in node.keywords:
        if keyword.arg in ("allow_pickle", "shell") and not _is_false(keyword.value):
            yield f"passes {keyword.arg}"


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_no_data_becomes_code() -> None:
    assert len(FILES) > 150
    found = [
        f"{path.relative_to(ROOT)} {problem}" for path in FILES for problem in _problems(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "import os, dill", "from joblib import load", "import marshal as m", "torch.load(path)",
     "np.load(path, allow_pickle=True)", "x.load_state(allow_pickle=flag)", "yaml.load(text)", "eval(text)",
     "exec(text)", "os.system(text)", "subprocess.run(text, shell=True)", "__import__(name)"],
)  # fmt: skip
def test_each_would_be_found(source: str) -> None:
    assert list(_problems(ast.parse(source)))
