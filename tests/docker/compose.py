"""Docker Compose: the plugin that is installed, else Debian 13's, which is fetched and runs from the cache."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from cortex_compile.cache_folder import cache_folder

_SOURCES = "deb http://deb.debian.org/debian trixie main\n"
_IN_PACKAGE = Path("usr", "libexec", "docker", "cli-plugins", "docker-compose")


def find_compose() -> list[str] | None:
    """The words that stand for `docker compose`; None where it can neither be found nor fetched."""
    if shutil.which("docker") and _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    program = cache_folder() / "compose" / "docker-compose"
    if not program.is_file():
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            return None
        try:
            _fetch(program)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
    return [str(program)]


def _fetch(program: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cortex-compile-") as temporary:
        folder = Path(temporary)
        for each in ("lists/partial", "archives/partial"):
            (folder / each).mkdir(parents=True)
        (folder / "sources.list").write_text(_SOURCES)
        settings = {
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder,
            "Dir::Cache::Archives": folder / "archives",
            "Acquire::Retries": 1,
        }
        apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
        for words in ([*apt, "update"], [*apt, "download", "docker-compose"]):
            subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=300)
        (package,) = folder.glob("docker-compose_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder / "unpacked"], check=True, timeout=60)
        program.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "unpacked" / _IN_PACKAGE, program)


def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0
