"""Engines of other packages: installed, found, compiled with; and broken ones, which stop nobody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cortex_compile.backends.plugins import BrokenEngine
from cortex_compile.backends.protocol import Missing
from cortex_compile.backends.registry import ENGINES, all_engines, find_engine
from cortex_compile.cli.doctor import engine_checks
from cortex_compile.errors import EngineError, UsageError
from cortex_compile.python_backend.errors import BuildError
from cortex_compile.python_backend.open_session import open_session

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example engine, installed into a folder of its own as a user would install it."""
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(TESTS / "example_engine", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(folder / "packages"), str(source)]
    subprocess.run(pip, check=True, timeout=100, capture_output=True)
    return folder / "packages"


def add_distribution(folder: Path, name: str, entry: str) -> None:
    """What pip leaves of a package with this entry point."""
    info = folder / f"{name}-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[cortex_compile.engines]\n{entry}\n")


@pytest.mark.timeout(240)
def test_a_predictor_is_compiled_with_another_packages_engine(installed: Path, tmp_path: Path) -> None:
    project = shutil.copytree(TESTS / "predictors" / "deep", tmp_path / "deep")
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-m", "cortex_compile", str(project / "predictor.py"), "--engine", "frozen", "--output", "b"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    (module,) = report["modules"]
    (attempt,) = module["signatures"][0]["attempts"]
    assert (attempt["engine"], attempt["exporter"], attempt["refused_at"]) == ("frozen", "trace", None), attempt
    # What was written was opened again by the runtime, and answered as eager does.
    assert module["engine"] == "frozen", module["decision"]
    assert all(sample["answers_equal"] for sample in report["samples"])
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert "cortex-compile-frozen==1.0" in manifest["requirements"]
    assert manifest["cores"][0]["variants"][0]["graph"].endswith("v0.pt")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("mine = no_such_module:Engine", r"no_such_module:Engine cannot be loaded \(ModuleNotFoundError"),
        ("mine = pathlib:Path", r"pathlib:Path is no engine of this release: it has no availability, export"),
        ("mine = cortex_compile.backends.eager.engine:EagerEngine", "calls itself 'eager'"),
    ],
)
def test_a_broken_package_is_named_with_its_remedy(
    entry: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_distribution(tmp_path, "half-an-engine", entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match=rf"'mine': the package half-an-engine 2\.5: .*{reason}.*pip uninstall half"):
        find_engine("mine")
    # Whoever does not ask for it does not meet it.
    assert find_engine("onnxruntime") is ENGINES[0]
    with pytest.raises(UsageError, match="did you mean 'openvino'"):
        find_engine("opnvino")


def test_doctor_warns_of_a_broken_package_and_passes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_distribution(tmp_path, "half-an-engine", "mine = no_such_module:Engine")
    add_distribution(tmp_path, "a-thief", "onnxruntime = pathlib:Path")
    monkeypatch.syspath_prepend(str(tmp_path))
    *ours, mine, thief = all_engines()
    assert tuple(ours) == ENGINES
    assert isinstance(thief, BrokenEngine)
    assert isinstance(mine, BrokenEngine)
    answer = thief.availability()
    assert isinstance(answer, Missing)
    assert "a-thief 2.5: its name 'onnxruntime' is taken" in answer.reason
    rows = {row.name: row for row in engine_checks((find_engine("onnxruntime"), find_engine("eager"), mine))}
    assert {name: row.status for name, row in rows.items()} == {
        "engine onnxruntime": "PASS",
        "engine eager": "PASS",
        "engine mine": "WARN",
    }
    assert "pip uninstall half-an-engine" in rows["engine mine"].remedy


def test_the_runtime_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match="engine 'mine' is not installed here"):
        open_session("mine", tmp_path / "v0.bin", 1)
    add_distribution(tmp_path, "half-an-engine", "mine = no_such_module:Engine")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BuildError, match="of the package half-an-engine: ModuleNotFoundError"):
        open_session("mine", tmp_path / "v0.bin", 1)
