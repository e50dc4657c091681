"""python_backend/ is copied into every build: it may need nothing but the standard library and numpy to be imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

RUNTIME = Path(__file__).parents[2] / "python_backend"
PROJECT = Path(__file__).parents[1] / "predictors" / "odd_file"
MODULES = sorted(path.stem for path in RUNTIME.glob("*.py") if path.stem != "__init__")

IMPORT_ALL = """
import importlib, json, sys
before = set(sys.modules)
for name in {names!r}:
    importlib.import_module("cortex_compile.python_backend." + name)
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""

ANSWER_FROM_A_COPY = """
import importlib, sys
from pathlib import Path
sys.path[:0] = [{numpy_folder!r}]
sys.path.append({model_folder!r})
for name in {names!r}:
    importlib.import_module("1._runtime." + name)
loading = sys.modules["1._runtime.load_predictor"]
project = Path({project!r})
loading.enter_project(project, None, {{}})
loaded = loading.load_predictor_class(project, "batch-predictor.py")
request = sys.modules["1._runtime.request"].request_from_context(b"41", None)
answer = sys.modules["1._runtime.answer"].answer(loading.create_predictor(loaded, {{}}), loaded, request)
assert not any(name.startswith("cortex_compile") for name in sys.modules)
print(answer.status_code, answer.body.decode())
"""


def run(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_runtime_imports_the_standard_library_and_numpy_only() -> None:
    found = json.loads(run("-c", IMPORT_ALL.format(names=MODULES)))
    # The last is how setuptools makes an editable installation importable.
    allowed = {"cortex_compile", "numpy"}
    assert {name for name in found if not name.startswith("__editable__")} <= allowed
    assert "cortex_compile" in found


def test_a_copy_elsewhere_answers_where_nothing_is_installed(tmp_path: Path) -> None:
    version = tmp_path / "model" / "1"
    shutil.copytree(RUNTIME, version / "_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    only_numpy = tmp_path / "only_numpy"
    only_numpy.mkdir()
    numpy_folder = Path(numpy.__file__).parent
    for folder in (numpy_folder, numpy_folder.parent / "numpy.libs"):
        if folder.exists():
            (only_numpy / folder.name).symlink_to(folder)
    code = ANSWER_FROM_A_COPY.format(
        numpy_folder=str(only_numpy), model_folder=str(version.parent), names=MODULES, project=str(PROJECT)
    )
    assert run("-S", "-E", "-P", "-c", code) == "200 41\n"


@pytest.mark.parametrize("path", sorted(RUNTIME.glob("*.py")), ids=lambda path: path.name)
def test_no_file_imports_the_package_by_its_installed_name(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert not [line for line in lines if line.lstrip().startswith(("import cortex_compile", "from cortex_compile"))]
