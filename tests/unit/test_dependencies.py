"""Which part may import which, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "python_backend": ROOT / "python_backend",
    "backends": ROOT / "backends",
    "compiler": ROOT / "compiler",
    "facade": ROOT / "facade",
    "launchers": ROOT / "launchers",
    "cli": ROOT / "src" / "cortex_compile" / "cli",
}
# What each part may import of ours, besides itself: modules, or a part with everything in it.
CONTRACT = {"errors", "python_backend.errors", "python_backend.manifest", "python_backend.records"}
ROOT_MODULES = {path.stem for path in (ROOT / "src" / "cortex_compile").glob("*.py")} - {"__init__", "__main__"}
ALLOWED = {
    "python_backend": set[str](),
    "backends": {"cache_folder", "errors", "python_backend"},
    "compiler": {"", *ROOT_MODULES, "python_backend", "backends", "model_repo_template"},
    # Requests wait for company on both sides of a call, and go by the same.
    "facade": {"", *CONTRACT, "python_backend.returning"},
    "launchers": {"", "cache_folder", "quantities", *CONTRACT},
    "cli": {"", *ROOT_MODULES, "python_backend", "backends", "compiler", "facade", "launchers"},
}
SOURCES = [path for folder in FOLDERS.values() for path in sorted(folder.rglob("*.py"))]


def part_of(path: Path) -> str:
    return next(part for part, folder in FOLDERS.items() if path.is_relative_to(folder))


def dotted_name(path: Path) -> str:
    """As imported, without ``cortex_compile.``: ``compiler.pipeline``, and ``compiler`` for its ``__init__``."""
    part = part_of(path)
    inside = path.relative_to(FOLDERS[part]).with_suffix("").parts
    return ".".join([part, *(name for name in inside if name != "__init__")])


def imports_of_ours(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module, without ``cortex_compile.``, of each import of ours in a file; "" is the root package."""
    package = dotted_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from cortex_compile import errors` imports a module, and so does `from cortex_compile.facade import app`.
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
            if node.module == "cortex_compile" and all(alias.name != "__version__" for alias in node.names):
                names.pop()
        elif isinstance(node, ast.ImportFrom):
            start = ["cortex_compile", *package][: len(package) + 2 - node.level]
            names = [".".join(start + ([node.module] if node.module else []))]
        else:
            continue
        for name in names:
            if name == "cortex_compile" or name.startswith("cortex_compile."):
                yield node.lineno, name.removeprefix("cortex_compile").removeprefix(".")


def is_within(module: str, allowed: str) -> bool:
    return module == allowed or (bool(allowed) and module.startswith(f"{allowed}."))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    allowed = {part, *ALLOWED[part]}
    wrong = [
        f"line {line} imports {module!r}"
        for line, module in imports_of_ours(path)
        if module != "__version__" and not any(is_within(module, name) for name in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sorted(FOLDERS["python_backend"].rglob("*.py")), ids=lambda path: path.name)
def test_the_runtime_imports_itself_relatively(path: Path) -> None:
    # It is copied into every build, where there is no cortex_compile.
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"line {node.lineno} reaches above the folder"
            modules = [str(node.module)] if node.level == 0 else []
        assert not any(module.split(".")[0] == "cortex_compile" for module in modules), f"line {node.lineno}"


def test_files_are_short_and_named_for_one_idea() -> None:
    ours = [*SOURCES, *(ROOT / "src").rglob("*.py"), *(ROOT / "model_repo_template").rglob("*.py")]
    ours += [path for folder in ("examples", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ours}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert [name for name in lengths if Path(name).stem in ("utils", "util", "helpers", "common", "misc")] == []


@pytest.mark.parametrize(
    "command",
    [
        "import cortex_compile",
        "import cortex_compile.cli.main",
        # What stays in the launcher while workers serve.
        "import cortex_compile.facade.supervisor, cortex_compile.facade.listener, cortex_compile.facade.cors",
    ],
)
def test_what_starts_the_others_imports_nothing_heavy(command: str) -> None:
    heavy = ("torch", "numpy", "onnxruntime", "transformers", "fastapi", "uvicorn", "grpc", "tritonclient", "pydantic")
    code = f"import sys; {command}; print([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"
