"""The installed server, and the folder that one run of it is given.

tritonserver finds a backend as a folder of its backend directory. The one for Python needs the stub of the running
Python beside it; an engine's is Python too (``backends/ENGINE/triton/model.py``), so that the config that names
NVIDIA's own backend in a container loads here as well.
"""

from __future__ import annotations

import importlib.resources
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.errors import LaunchError
from cortex_compile.launchers.install_server import SERVER_VERSION, server_folder
from cortex_compile.launchers.large_pages import with_large_pages

PYTHON_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class InstalledServer:
    """What stands where in the installed server, for the Python that runs."""

    binary: Path
    libraries: Path
    python_backend: Path
    stub: Path
    libpython: Path
    version: tuple[int, int] = SERVER_VERSION


@dataclass(frozen=True)
class RunFolder:
    """A folder of one run: the assembled backends, and libraries that go before all others."""

    backends: Path
    libraries: Path


@dataclass(frozen=True)
class PreparedServer:
    """A tritonserver that can be started: how, and with which of its backends running Python."""

    binary: Path
    version: tuple[int, int]
    backends: Path
    python_backends: tuple[str, ...]
    environment: dict[str, str]
    hardware: str


def prepare_embedded_server(root: Path) -> PreparedServer:
    """The installed server, with what one run of it needs in ``root``.

    Raises:
        LaunchError: it is not installed, has no stub for this Python, or this Python has no shared library.
    """
    server = find_installed_server()
    folder = assemble_run_folder(server, root)
    return PreparedServer(
        binary=server.binary,
        version=server.version,
        backends=folder.backends,
        python_backends=("python", *python_based_backends()),
        environment=server_environment(server, folder),
        hardware="cpu",
    )


def find_installed_server() -> InstalledServer:
    """
    Raises:
        LaunchError: it is not installed, has no stub for this Python, or this Python has no shared library.
    """
    root = server_folder()
    if not root.is_dir():
        raise LaunchError(f"No embedded server is installed in {str(root)!r}. Run `cortex-compile install-server`.")
    return InstalledServer(
        binary=root / "bin" / "tritonserver",
        libraries=root / "libs",
        python_backend=root / "backends" / "python",
        stub=find_stub(root),
        libpython=find_libpython(),
    )


def find_stub(root: Path) -> Path:
    """The program that runs models of the Python backend under the Python that runs now.

    Raises:
        LaunchError: the server has none.
    """
    stub = root / "stubs" / PYTHON_MINOR / "triton_python_backend_stub"
    if not stub.is_file():
        known = sorted((folder.name for folder in (root / "stubs").iterdir()), key=lambda name: int(name.split(".")[1]))
        raise LaunchError(
            f"The embedded server cannot run Python {PYTHON_MINOR}: it has stubs for {', '.join(known)}. Use an "
            "environment of one of these, or `cortex-compile serve --runtime docker`."
        )
    return stub


def find_libpython() -> Path:
    """The shared library of the Python that runs. Another one of the same minor version must not be taken instead.

    Raises:
        LaunchError: this Python has none.
    """
    name = f"libpython{PYTHON_MINOR}.so.1.0"
    folders = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_prefix, "lib")]
    if multiarch := sysconfig.get_config_var("MULTIARCH"):
        folders.append(os.path.join("/usr/lib", multiarch))
    for folder in folders:
        if folder and (path := Path(folder) / name).is_file():
            return path
    raise LaunchError(
        f"The embedded server needs {name}, which {sys.base_prefix!r} does not have: this Python was built without its "
        f"shared library. Install it (Debian: apt install libpython{PYTHON_MINOR}; pyenv: "
        "PYTHON_CONFIGURE_OPTS=--enable-shared) or use a Python that has it."
    )


def assemble_run_folder(server: InstalledServer, root: Path) -> RunFolder:
    """Fill ``root`` with what this run of the server needs.

    Backends are copied (3 MB): tritonserver refuses a backend whose library is a link out of the backend's folder.
    """
    backends, libraries = root / "backends", root / "libs"
    python = backends / "python"
    for folder in (python, libraries):
        folder.mkdir(parents=True)
    for path in (*server.python_backend.iterdir(), server.stub):
        shutil.copy(path, python)
    for engine, model in python_based_backends().items():
        (backends / engine).mkdir()
        shutil.copy(model, backends / engine)
        shutil.copy(_package_folder("python_backend") / "tensors.py", backends / engine)
    (libraries / server.libpython.name).symlink_to(server.libpython)
    # The wheel carries a libpython of its own for its newest stub, under another name; this Python's must be taken.
    for bundled in server.libraries.glob(f"libpython3-*.{sys.version_info.minor}.so.1.0"):
        (libraries / bundled.name).symlink_to(server.libpython)
    return RunFolder(backends=backends, libraries=libraries)


def python_based_backends() -> dict[str, Path]:
    """The model.py of each engine that Triton runs through the Python backend, by the backend's name."""
    found = sorted(_package_folder("backends").glob("*/triton/model.py"))
    return {path.parent.parent.name: path for path in found}


def server_environment(server: InstalledServer, folder: RunFolder) -> dict[str, str]:
    """The environment of tritonserver and its Python processes."""
    environment = with_large_pages(os.environ)
    environment.pop("PYTHONHOME", None)
    libraries = [str(folder.libraries), str(server.libraries), environment.get("LD_LIBRARY_PATH")]
    environment["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    # The stub looks for a python on PATH to learn which environment it is in.
    environment["PATH"] = os.pathsep.join([os.path.join(sys.prefix, "bin"), environment.get("PATH", os.defpath)])
    environment["PYTHONUNBUFFERED"] = "1"  # what a predictor prints is in the log when it is printed
    return environment


def _package_folder(name: str) -> Path:
    folder = importlib.resources.files(f"cortex_compile.{name}")
    if not isinstance(folder, Path):
        raise LaunchError(f"The embedded server needs cortex_compile.{name} as files on disk, found {folder!r}.")
    return folder
