"""A stand-in for NVIDIA's Triton image, which cannot be fetched everywhere and has 10 GB.

It is Debian with its own Python, and the embedded tritonserver 2.51 laid out as in the real image: paths, user,
variables, label and entry point. It is not NVIDIA's image: no Ubuntu, no CUDA, and of the native backends only the one
for Python; the onnxruntime backend in it is ours.

Run as a program it fetches that Debian and says by its exit status whether the engine that is here can run it as the
tests do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cortex_compile.cache_folder import cache_folder
from cortex_compile.launchers.docker_engine import connect_to_engine
from cortex_compile.launchers.install_server import server_folder
from cortex_compile.launchers.server_folder import python_based_backends

IMAGE = "cortex-compile-test/stand-in-for-triton:2.51"
# Debian 12's.
PYTHON = "3.11"
_DEBIAN = "cortex-compile-test/debian-12-python:latest"
_PACKAGES = ("python3", "python3-pip", f"libpython{PYTHON}", "libgomp1")
_MIRROR = "http://deb.debian.org/debian"

_DOCKERFILE = f"""
FROM {_DEBIAN}
ENV PATH=/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    LD_LIBRARY_PATH=/opt/tritonserver/lib TRITON_SERVER_USER=triton-server \\
    TRITON_SERVER_VERSION=2.51.0 NVIDIA_TRITON_SERVER_VERSION=stand-in
LABEL com.nvidia.tritonserver.version="2.51.0" io.cortex-compile.stand-in="not NVIDIA's image"
RUN useradd --uid 1000 triton-server
COPY tritonserver /opt/tritonserver
COPY nvidia_entrypoint.sh /opt/nvidia/nvidia_entrypoint.sh
WORKDIR /opt/tritonserver
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
"""


def why_not_buildable() -> str | None:
    """Why the image cannot be made here, or not be used; None when it can."""
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        return f"its packages are those installed here, and it has Python {PYTHON}: PYTHON=python{PYTHON} make install"
    if not server_folder().is_dir():
        return "the embedded server is not installed: cortex-compile install-server"
    if not _rootfs().is_file() and (shutil.which("mmdebstrap") is None or os.geteuid() != 0):
        return "a Debian root file system takes root and mmdebstrap, which scripts/test_docker installs"
    return None


def build_stand_in(client: Any) -> str:
    """Build the image and return its name. Takes a minute or two the first time: Debian is kept in the cache."""
    _import_debian(client)
    with tempfile.TemporaryDirectory(prefix="cortex-compile-") as temporary:
        context = Path(temporary)
        _lay_out_server(context / "tritonserver")
        entry = context / "nvidia_entrypoint.sh"
        entry.write_text('#!/bin/bash\nexec "$@"\n')
        entry.chmod(0o755)
        (context / "Dockerfile").write_text(_DOCKERFILE)
        client.images.build(path=str(context), tag=IMAGE, rm=True)
    return IMAGE


def check_engine(client: Any) -> None:
    """Raise whatever is raised where a container cannot run with a folder of this machine, a port and no rights."""
    _import_debian(client)
    with tempfile.TemporaryDirectory(prefix="cortex-compile-") as temporary:
        (Path(temporary) / "file").touch()
        client.containers.run(
            _DEBIAN,
            ["test", "-e", "/shared/file"],
            volumes={temporary: {"bind": "/shared", "mode": "ro"}},
            ports={"80/tcp": ("127.0.0.1", None)},
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            remove=True,
        )


def _import_debian(client: Any) -> None:
    if not client.images.list(_DEBIAN):
        repository, _, tag = _DEBIAN.partition(":")
        client.api.import_image(str(_make_rootfs()), repository=repository, tag=tag)


def _rootfs() -> Path:
    return cache_folder() / "stand-in" / "debian-12-python.tar"


def _make_rootfs() -> Path:
    rootfs = _rootfs()
    if not rootfs.is_file():
        rootfs.parent.mkdir(parents=True, exist_ok=True)
        partial = rootfs.with_suffix(".partial.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}", "bookworm"]
        subprocess.run([*command, str(partial), _MIRROR], check=True, timeout=600)
        partial.rename(rootfs)
    return rootfs


def _lay_out_server(root: Path) -> None:
    """As in NVIDIA's image: bin, lib, backends and caches; a backend's Python stands in its folder."""
    installed = server_folder()
    shutil.copytree(installed / "bin", root / "bin")
    shutil.copytree(installed / "libs", root / "lib")
    shutil.copytree(installed / "backends", root / "backends")
    shutil.copytree(installed / "caches", root / "caches")
    shutil.copy(installed / "stubs" / PYTHON / "triton_python_backend_stub", root / "backends" / "python")
    for engine, model in python_based_backends().items():
        (root / "backends" / engine).mkdir()
        shutil.copy(model, root / "backends" / engine)
        shutil.copy(model.parents[3] / "python_backend" / "tensors.py", root / "backends" / engine)


if __name__ == "__main__":
    try:
        if reason := why_not_buildable():
            sys.exit(reason)
        check_engine(connect_to_engine())
    except Exception as error:  # of mmdebstrap, the SDK, requests
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
