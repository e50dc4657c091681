"""What an image's requirements lock to, with pip's answers as it gives them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.errors import LaunchError
from cortex_compile.launchers import docker_lock
from cortex_compile.launchers.docker_lock import OF_SERVING, LockedPackage, Target, lock_requirements

ROOT = Path(__file__).resolve().parents[2]
TARGET = Target("3.12", "x86_64")
PYPI = "https://files.pythonhosted.org/packages/a/{}"


def found(name: str, version: str, *requires: str, url: str | None = None, extras: tuple[str, ...] = ()) -> Any:
    """A package of pip's installation report."""
    return {
        "metadata": {"name": name, "version": version, "requires_dist": list(requires)},
        "download_info": {
            "url": url or PYPI.format(f"{name}-{version}-py3-none-any.whl"),
            "archive_info": {"hashes": {"sha256": f"{len(name):064x}"}},
        },
        "requested_extras": list(extras),
    }


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for pip: finds the packages of this dict that are asked for, by name."""
    packages: dict[str, Any] = {}

    def resolve(requirements: list[str], target: Target) -> list[Any]:
        names = [re.split(r"[\[=<> ;]", line)[0] for line in requirements]
        return [packages[name] for name in dict.fromkeys(names)]

    monkeypatch.setattr(docker_lock, "_resolve", resolve)
    return packages


def test_each_package_is_locked_with_its_hash(pip: dict[str, Any]) -> None:
    pip["Torch"] = found("Torch", "2.13.0+cpu", url="file:///opt/wheels/torch-2.13.0%2Bcpu-cp312.whl")
    pip["numpy"] = found("numpy", "2.4.6")
    pip["other"] = found("other", "1.0", url="https://wheels.example.com/other-1.0-py3-none-any.whl")
    packages = lock_requirements(["Torch", "other", "numpy>=1"], TARGET)
    assert [package.line() for package in packages] == [
        f"numpy==2.4.6 \\\n    --hash=sha256:{5:064x}",
        f"other @ https://wheels.example.com/other-1.0-py3-none-any.whl \\\n    --hash=sha256:{5:064x}",
        f"torch==2.13.0+cpu \\\n    --hash=sha256:{5:064x}",
    ]
    assert [package.name for package in packages if package.is_local] == ["torch"]


def test_what_only_the_images_python_needs_is_asked_for(pip: dict[str, Any]) -> None:
    pip["a"] = found("a", "1", 'b>=2; python_version >= "3.12"', 'c; python_version < "3.12"', 'd; extra == "more"')
    pip["b"] = found("b", "2", "e")
    pip["e"] = found("e", "3", 'f; platform_machine == "aarch64"')
    assert [package.name for package in lock_requirements(["a"], TARGET)] == ["a", "b", "e"]
    pip["a"]["requested_extras"] = ["more"]
    pip["d"] = found("d", "4")
    assert [package.name for package in lock_requirements(["a[more]"], TARGET)] == ["a", "b", "d", "e"]


@pytest.mark.parametrize("line", ["git+https://example.com/x.git", "./wheels/x.whl", "x @ https://example.com/x.whl"])
def test_what_has_no_hash_is_refused_with_what_to_do(line: str) -> None:
    with pytest.raises(LaunchError, match=rf"requires '{re.escape(line)}', which comes from its source.*pip wheel"):
        lock_requirements([line], TARGET)


def test_a_package_without_a_hash_is_not_locked(pip: dict[str, Any]) -> None:
    pip["a"] = found("a", "1")
    pip["a"]["download_info"]["archive_info"] = {}
    with pytest.raises(LaunchError, match="without a sha256"):
        lock_requirements(["a"], TARGET)


def test_pip_is_asked_for_the_images_python_in_the_versions_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        constraints = Path(command[command.index("--constraint") + 1]).read_text()
        assert f"pytest=={pytest.__version__}\n" in constraints
        error = "WARNING: x\nERROR: No matching distribution found for numpy==9\n"
        return subprocess.CompletedProcess(command, 1, "", error)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(LaunchError, match=r"pip cannot lock .*: No matching distribution found for numpy==9 Versions"):
        lock_requirements(["numpy==9"], TARGET)
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[command.index("--python-version") + 1] == "3.12"
    assert {"--dry-run", "--only-binary=:all:", "manylinux_2_28_x86_64", "manylinux2014_x86_64"} <= set(command)


def test_a_locked_package_of_pypi_is_named_by_its_version() -> None:
    package = LockedPackage("a", "1", "0" * 64, PYPI.format("a-1-py3-none-any.whl"))
    assert package.line().startswith("a==1 \\\n")
    assert not package.is_local


def test_what_serving_needs_is_among_our_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {re.split(r"[\[>]", line)[0] for line in project["dependencies"]}
    assert {name.split("[")[0] for name in OF_SERVING} <= ours
