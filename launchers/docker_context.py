"""The build context of an image that holds a build and all that serving it needs: what `docker build` is given."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compile import __version__
from cortex_compile.errors import LaunchError
from cortex_compile.launchers.container_resources import resources_of
from cortex_compile.launchers.docker_lock import OF_SERVING, LockedPackage, Target, download_wheels, lock_requirements
from cortex_compile.launchers.served_models import read_models
from cortex_compile.launchers.shared_memory import MIB
from cortex_compile.python_backend.manifest import Manifest, check_build, sha256_of

# The parts of us that an image needs: the command `serve`, the facade, and what starts Triton.
_PARTS = ("cli", "facade", "launchers", "python_backend")
_MARK = "Written by `cortex-compile package`"


@dataclass(frozen=True)
class ImagePlan:
    """What the image is made from. ``all_wheels``: the context holds every wheel, and building needs no network."""

    build: Path
    base: str
    target: Target
    all_wheels: bool


@dataclass(frozen=True)
class ImageContext:
    """A written context, and what running the image needs to be told."""

    folder: Path
    name: str
    tag: str
    shm_bytes: int
    packages: int


def write_context(plan: ImagePlan, output: Path) -> ImageContext:
    """Write the context to ``output``, whole or not at all. One that was written there before is replaced.

    Raises:
        BuildError: the folder is not a build, or is damaged.
        LaunchError: a requirement cannot be locked, or ``output`` is something else or cannot be written.
    """
    manifest = check_build(plan.build)
    _check_replaceable(output)
    packages = lock_requirements((*manifest.requirements, *OF_SERVING), plan.target)
    temporary = output.parent / f".{output.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        local = [package for package in packages if plan.all_wheels or package.is_local]
        if local:
            download_wheels(local, plan.target, temporary / "wheels")
        (temporary / "requirements.lock").write_text(_lock_text(packages, manifest, plan.target))
        _copy_build(plan.build, temporary / "build")
        _copy_package(temporary / "cortex_compile")
        shm_bytes = _write_templates(temporary, plan, manifest, has_wheels=bool(local))
        _make_readable(temporary)
        if output.exists():
            shutil.rmtree(output)
        temporary.rename(output)
    except OSError as error:
        raise LaunchError(f"{output}: cannot be written ({error}). Give another folder with --output.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ImageContext(output, manifest.name, image_tag(manifest.name), shm_bytes, len(packages))


def image_tag(name: str) -> str:
    """An API's name as Docker allows it for images and projects: lower case, no two separators in a row."""
    words = "".join(character if character.isascii() and character.isalnum() else " " for character in name.lower())
    return "-".join(words.split()) or "api"


def _check_replaceable(output: Path) -> None:
    if not os.path.lexists(output):
        return
    try:
        ours = output.is_dir() and not output.is_symlink() and _MARK in (output / "Dockerfile").read_text()
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours and not (output.is_dir() and not any(output.iterdir())):
        raise LaunchError(
            f"{output}: is there and was not written by `cortex-compile package`, so it is not replaced. "
            "Give another folder with --output."
        )


def _lock_text(packages: Sequence[LockedPackage], manifest: Manifest, target: Target) -> str:
    lines = [
        f"# What serving {manifest.name} needs under Python {target.python} on Linux, {target.machine}:",
        "# the predictor's requirements, what its compiled models run in, and the HTTP facade.",
    ]
    for package in packages:
        if package.name == "torch":
            lines += _why_torch(manifest)
        lines.append(package.line())
    return "\n".join(lines) + "\n"


def _why_torch(manifest: Manifest) -> list[str]:
    files = importlib.metadata.distribution("torch").files or ()
    size = sum(path.stat().st_size for path in (Path(str(file.locate())) for file in files) if path.is_file())
    compiled = f"{len(manifest.cores)} of its modules {'is' if len(manifest.cores) == 1 else 'are'} compiled"
    return [
        f"# torch takes {size // MIB} MiB, as installed where this was written. {compiled}, and do not run in it; the",
        "# predictor still imports it, holds its modules in it, and runs in it what was not compiled or proven.",
    ]


def _copy_build(build: Path, target: Path) -> None:
    """Without the report, which serving does not read."""
    target.mkdir()
    shutil.copyfile(build / "manifest.json", target / "manifest.json")
    shutil.copytree(build / "model_repository", target / "model_repository", copy_function=shutil.copyfile)


def _copy_package(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    target.mkdir()
    for file in _package_folder("cortex_compile").glob("*.py"):
        shutil.copyfile(file, target / file.name)
    for part in _PARTS:
        shutil.copytree(_package_folder(f"cortex_compile.{part}"), target / part, ignore=ignored)


def _write_templates(folder: Path, plan: ImagePlan, manifest: Manifest, *, has_wheels: bool) -> int:
    from jinja2 import Environment, StrictUndefined

    # The predictor's processes; a core of its own engine has none of Python's.
    models = read_models(plan.build / "model_repository", "cpu")
    processes = sum(model.instances for model in models)
    resources = resources_of(manifest, plan.build, processes)
    compute: dict[str, Any] = manifest.cluster.get("compute", {})
    values: dict[str, Any] = {
        "name": manifest.name,
        "tag": image_tag(manifest.name),
        "version": __version__,
        "base": plan.base,
        "python": plan.target.python,
        "wheels": has_wheels,
        "all_wheels": plan.all_wheels,
        "manifest_sha256": sha256_of(plan.build / "manifest.json"),
        "resources": resources,
        # As cortex.yaml writes them, which is as Kubernetes does; Cortex's own default of cpu.
        "cpu_request": compute.get("cpu", "200m"),
        "memory_request": compute.get("mem"),
    }
    templates = _package_folder("cortex_compile.model_repo_template")
    # Nothing that a browser reads: a Dockerfile and YAML, with names that check_manifest.py allows.
    settings: dict[str, Any] = {"keep_trailing_newline": True, "trim_blocks": True}
    environment = Environment(undefined=StrictUndefined, autoescape=False, **settings)  # noqa: S701
    for name in ("Dockerfile", "compose.yaml", "compose.gpu.yaml", "kubernetes.yaml"):
        text = environment.from_string((templates / f"{name}.j2").read_text()).render(values)
        (folder / name).write_text(text)
    wanted = ["build", "cortex_compile", "requirements.lock", *(["wheels"] if has_wheels else [])]
    (folder / ".dockerignore").write_text("".join(["*\n", *(f"!{name}\n" for name in wanted), "**/__pycache__\n"]))
    return resources.shm_bytes


def _make_readable(folder: Path) -> None:
    """Whoever has a strict umask would make an image whose user, who is not root, may read nothing."""
    for root, _, files in os.walk(folder):
        os.chmod(root, 0o755)  # noqa: S103  # readable is the point; only its owner writes
        for file in files:
            os.chmod(os.path.join(root, file), 0o644)


def _package_folder(name: str) -> Path:
    folder = importlib.resources.files(name)
    if not isinstance(folder, Path):
        raise LaunchError(f"package needs {name} as files on disk, found {folder!r}; install cortex-compile with pip.")
    return folder
