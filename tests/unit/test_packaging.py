"""What pyproject.toml says of packages and data is what is on disk: the wheel misses nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def setuptools_table() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return table


def package_folders(table: dict[str, Any]) -> dict[str, Path]:
    """Every folder with an ``__init__.py`` below a mapped folder, by the name that it is imported as."""
    found = {}
    for package, folder in table["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder).parts
            found[".".join([package, *inside])] = init.parent
    return found


def test_the_packages_on_disk_are_the_packages_listed(setuptools_table: dict[str, Any]) -> None:
    # A missing one works in the editable install and is silently absent from the wheel.
    assert sorted(package_folders(setuptools_table)) == sorted(setuptools_table["packages"])


def test_every_other_file_is_package_data(setuptools_table: dict[str, Any]) -> None:
    packages = package_folders(setuptools_table)
    shipped = {path for folder in packages.values() for path in folder.glob("*.py")}
    for package, patterns in setuptools_table["package-data"].items():
        shipped |= {path for pattern in patterns for path in packages[package].glob(pattern)}
    on_disk = {
        path
        for folder in setuptools_table["package-dir"].values()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert [str(path.relative_to(ROOT)) for path in sorted(on_disk - shipped)] == []


def test_torch_comes_first_and_every_version_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0].startswith("torch==")
    assert [pin for pin in pins if pin.count("==") != 1 or "*" in pin] == []


def test_cpu_and_gpu_name_libraries_that_exclude_each_other() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: {line.split(">")[0] for line in extras[extra]} for extra in ("cpu", "gpu")}
    assert "onnxruntime" in names["cpu"] - names["gpu"]
    assert "onnxruntime-gpu" in names["gpu"] - names["cpu"]
