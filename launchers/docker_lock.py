"""Requirements of an image, locked: every package that serving needs, by its version and its hash, as pip resolves it.

The image's Python and machine may be others than those that run here, so pip is asked for wheels of those. It evaluates
markers (``; python_version < "3.12"``) for the Python that it runs under, though: what the image's Python needs besides
is found here, and asked for, until nothing is missing.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from cortex_compile.errors import LaunchError

# What the facade and the command `serve` import; what only compiling needs is not in an image.
OF_SERVING = (
    "click",
    "rich",
    "fastapi",
    "fastapi-offline",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "prometheus-client",
    "tritonclient[grpc]",
)
_PYPI = "files.pythonhosted.org"
# pip takes the tags of another machine one by one. Ubuntu 24.04, on which NVIDIA's images stand, has glibc 2.39.
_NEWEST_GLIBC_MINOR, _OLDEST_GLIBC_MINOR = 39, 5


@dataclass(frozen=True)
class Target:
    """The Python of the image, as in ``3.12``, and its machine, as in ``x86_64``."""

    python: str
    machine: str


@dataclass(frozen=True)
class LockedPackage:
    """One wheel: its project, version and sha256, and where pip found it."""

    name: str
    version: str
    sha256: str
    url: str

    @property
    def is_local(self) -> bool:
        """It lies on this machine only, so the image cannot fetch it."""
        return urlsplit(self.url).scheme == "file"

    def line(self) -> str:
        """For a requirements file with hashes. From an index other than PyPI the wheel is named by its address."""
        host = urlsplit(self.url).hostname
        source = f"{self.name}=={self.version}" if self.is_local or host == _PYPI else f"{self.name} @ {self.url}"
        return f"{source} \\\n    --hash=sha256:{self.sha256}"


def lock_requirements(requirements: Sequence[str], target: Target) -> tuple[LockedPackage, ...]:
    """Resolve them for the image, in the versions that are installed here, since with these answers were compared.

    Raises:
        LaunchError: a line cannot be locked, or pip finds no wheels that go together.
    """
    for line in requirements:
        _check_lockable(line)
    wanted = list(requirements)
    while True:
        found = _resolve(wanted, target)
        missing = sorted(_missing(found, target))
        if not missing:
            return tuple(sorted((_locked(item) for item in found), key=lambda package: package.name))
        wanted += missing


def download_wheels(packages: Iterable[LockedPackage], target: Target, folder: Path) -> None:
    """
    Raises:
        LaunchError: pip cannot have one, or it is another than was locked.
    """
    lines = "".join(f"{package.name} @ {package.url} --hash=sha256:{package.sha256}\n" for package in packages)
    folder.mkdir()
    if lines:
        with tempfile.TemporaryDirectory(prefix="cortex-compile-") as temporary:
            file = Path(temporary) / "requirements.txt"
            file.write_text(lines)
            options = ["--no-deps", "--require-hashes", "--dest", str(folder), "--requirement", str(file)]
            _pip("download", *options, *_target_options(target))


def _check_lockable(line: str) -> None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        requirement = None
    if requirement is None or requirement.url is not None:
        raise LaunchError(
            f"The build requires {line!r}, which comes from its source and so has no hash to lock. Build a wheel of it "
            "(pip wheel), name it in requirements.txt as name==version, compile again, and let pip find the wheel: "
            "PIP_FIND_LINKS=FOLDER cortex-compile package …"
        )


def _resolve(requirements: Sequence[str], target: Target) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="cortex-compile-") as temporary:
        report, constraints = Path(temporary) / "report.json", Path(temporary) / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in _installed_versions()))
        options = ["--dry-run", "--ignore-installed", "--report", str(report), "--constraint", str(constraints)]
        # --target is asked for where the platform is named; nothing is written to it.
        options += ["--target", str(Path(temporary) / "nothing")]
        _pip("install", *options, *_target_options(target), *requirements)
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
        return found


def _installed_versions() -> Iterator[str]:
    for distribution in importlib.metadata.distributions():
        try:
            yield f"{distribution.metadata['Name']}=={Version(distribution.version).public}"
        except (InvalidVersion, KeyError, TypeError):  # a damaged or a very old package
            continue


def _missing(found: Sequence[dict[str, Any]], target: Target) -> set[str]:
    """What packages of the resolution need under the target's Python that is not among them."""
    environment = {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "platform_machine": target.machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    there = {canonicalize_name(item["metadata"]["name"]) for item in found}
    missing = set()
    for item in found:
        for line in item["metadata"].get("requires_dist", ()):
            requirement = Requirement(line)
            extras = ("", *item.get("requested_extras", ()))
            needed = requirement.marker is None or any(
                requirement.marker.evaluate({**environment, "extra": extra}) for extra in extras
            )
            if needed and canonicalize_name(requirement.name) not in there:
                requirement.marker = None
                missing.add(str(requirement))
    return missing


def _locked(item: dict[str, Any]) -> LockedPackage:
    source = item["download_info"]
    sha256 = source.get("archive_info", {}).get("hashes", {}).get("sha256")
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    if sha256 is None:
        raise LaunchError(f"pip found {name} {version} at {source['url']!r} without a sha256, so it cannot be locked.")
    return LockedPackage(canonicalize_name(name), version, sha256, source["url"])


def _target_options(target: Target) -> list[str]:
    glibc = range(_NEWEST_GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)
    tags = [f"manylinux_2_{minor}" for minor in glibc]
    tags += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
    platforms = [word for tag in tags for word in ("--platform", f"{tag}_{target.machine}")]
    return ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *platforms]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        reason = re.sub(r"^ERROR:\s*", "", said[0] if said else f"exit status {done.returncode}")
        raise LaunchError(
            f"pip cannot lock the requirements for the image: {reason} Versions are those installed here; install "
            "others and compile again, or tell pip where the wheels are (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL)."
        )
