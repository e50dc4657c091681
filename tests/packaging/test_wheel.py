"""The wheel works outside the repository, and never shadows a user's own modules."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as building writes into the tree, with the setuptools that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "tests", "examples", "docs", "__pycache__")
    source = shutil.copytree(ROOT, folder / "source", ignore=unwanted)
    (source / "model_repo_template" / "__pycache__").mkdir()
    (source / "model_repo_template" / "__pycache__" / "left.cpython-311.pyc").write_bytes(b"")
    run_ok(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source), cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; its dependencies are seen through a .pth, which no editable install is."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    run_ok(*pip, str(wheel), cwd=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run_ok(*command: str, cwd: Path) -> str:
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, f"{command}: {run.stdout[-2000:]}{run.stderr[-4000:]}"
    return run.stdout


def test_the_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"cortex_compile"}
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []
    mapped = ["backends", "compiler", "facade", "launchers", "model_repo_template", "python_backend"]
    for folder, inside in [(ROOT / "src", ""), *((ROOT / name, f"cortex_compile/{name}/") for name in mapped)]:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"{inside}{path.relative_to(folder).as_posix()}" in names


def test_the_command_works_in_another_folder(elsewhere: Path, tmp_path: Path) -> None:
    assert "predictor" in run_ok(str(elsewhere / "bin" / "cortex-compile"), "--help", cwd=tmp_path).lower()
    python = str(elsewhere / "bin" / "python")
    assert "predictor" in run_ok(python, "-m", "cortex_compile", "--help", cwd=tmp_path).lower()
    where = run_ok(python, "-c", "import cortex_compile.compiler as c; print(c.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(elsewhere)


def test_every_module_can_be_imported(elsewhere: Path, tmp_path: Path) -> None:
    script = tmp_path / "import_all.py"
    script.write_text(
        "import importlib, pkgutil, cortex_compile\n"
        "for module in pkgutil.walk_packages(cortex_compile.__path__, 'cortex_compile.'):\n"
        "    # Triton alone can import the first; the second is the command itself.\n"
        "    if module.name not in ('cortex_compile.model_repo_template.model', 'cortex_compile.__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "        print(module.name)\n"
    )
    imported = run_ok(str(elsewhere / "bin" / "python"), str(script), cwd=tmp_path).split()
    assert {"cortex_compile.backends.onnxruntime", "cortex_compile.python_backend.manifest"} <= set(imported)


def test_a_users_own_compiler_and_backends_win(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "compiler.py").write_text("OWNER = 'the user'\n")
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "__init__.py").write_text("OWNER = 'the user'\n")
    # Triton puts the predictor's folder behind site-packages: a module of ours by that name would win.
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import compiler, backends; "
    code += "import cortex_compile.compiler; print(compiler.OWNER, backends.OWNER)"
    assert run_ok(str(elsewhere / "bin" / "python"), "-c", code, cwd=elsewhere).strip() == "the user the user"
