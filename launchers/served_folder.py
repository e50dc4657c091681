"""What runs of a build, apart from the build: a folder beside it, in which later builds take its place while it serves.

    .NAME.served-XXXX/
      1/build/                  the build, as it was when it was taken
      2/build/  2/models/       a later one, and its models as they are loaded
      models/NAME -> ../2/…     Triton's model repository: which of them a name stands for
      lock                      held as long as the launcher lives

The files are hard links, so they take neither time nor space, and a build that is replaced on disk does not change what
runs. The links in ``models/`` may come to point elsewhere while an earlier build still answers: a predictor's process
resolves them once, when it starts.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cortex_compile.errors import BuildError, LaunchError
from cortex_compile.python_backend.manifest import Manifest, check_build, read_manifest

__all__ = ["BuildCopy", "ServedFolder", "folders_beside"]


@dataclass(frozen=True)
class BuildCopy:
    """A build that was taken. ``models`` are the folders of its Triton models, by the names they are loaded by."""

    number: int
    build: Path
    manifest: Manifest
    models: Mapping[str, Path]

    @property
    def cores(self) -> dict[str, Path]:
        """The models beside the predictor's own."""
        return {name: folder for name, folder in self.models.items() if name != self.manifest.name}

    @property
    def folder(self) -> Path:
        return self.build.parent


class ServedFolder:
    """One build's.

    Raises:
        LaunchError: there can be none beside the build: it cannot be written there, or not be linked.
    """

    def __init__(self, build: Path) -> None:
        _remove_abandoned(build)
        number = secrets.token_hex(4)
        self.root = build.parent / f".{build.name}.served-{number}"
        self.repository = self.root / "models"
        self._lock: TextIO | None = None
        try:
            # Under that name when it is locked: what is not may be removed.
            new = build.parent / f".{build.name}.new-{number}"
            (new / "models").mkdir(parents=True)
            self._lock = (new / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            new.rename(self.root)
            _link_tree(build, self.root / "1" / "build")
        except OSError as error:
            self.remove()
            raise LaunchError(f"nothing can be linked into {str(build.parent)!r} ({error.strerror})") from error
        folders = (self.root / "1" / "build" / "model_repository").iterdir()
        models = {folder.name: folder for folder in sorted(folders) if (folder / "config.pbtxt").is_file()}
        copied = self.root / "1" / "build"
        self.current = BuildCopy(1, copied, read_manifest(copied / "manifest.json"), models)
        self.previous: BuildCopy | None = None
        self._taken = 1
        for name, folder in models.items():
            self.show(name, folder)

    def take(self, build: Path) -> BuildCopy:
        """Another build, checked, that is not shown yet. Its models but the predictor's get names of their own: an
        earlier predictor goes on calling those that it knows.

        Raises:
            BuildError: it is damaged, or cannot be read.
        """
        self._taken += 1
        folder = self.root / str(self._taken)
        copied = folder / "build"
        try:
            _link_tree(build, copied, may_copy=True)
            manifest = check_build(copied)
            found = [each for each in (copied / "model_repository").iterdir() if (each / "config.pbtxt").is_file()]
            models = {}
            for each in found:
                name = each.name if each.name == manifest.name else f"{each.name}--{self._taken}"
                models[name] = folder / "models" / name
                _link_tree(each, models[name], may_copy=True)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise BuildError(f"{build}: cannot be read ({error.strerror or error}). Compile it again.") from error
        except BuildError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise BuildError(str(error).replace(str(copied), str(build))) from None
        return BuildCopy(self._taken, copied, manifest, models)

    def show(self, name: str, folder: Path) -> None:
        """Let Triton find ``folder`` as the model ``name`` from now on."""
        link = self.repository / f".{name}"
        link.symlink_to(os.path.relpath(folder, self.repository))
        link.rename(self.repository / name)

    def hide(self, name: str) -> None:
        (self.repository / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """All of it, when nothing of it runs any longer."""
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.root, ignore_errors=True)


def folders_beside(builds: Sequence[Path]) -> tuple[ServedFolder, ...]:
    """One for each build.

    Raises:
        LaunchError: there can be none beside one of them.
    """
    folders: list[ServedFolder] = []
    try:
        for build in builds:
            folders.append(ServedFolder(build))
    except LaunchError:
        for folder in folders:
            folder.remove()
        raise
    return tuple(folders)


def _link_tree(source: Path, target: Path, may_copy: bool = False) -> None:
    """A folder of hard links; of copies, if they may be, where files cannot be linked.

    Raises:
        OSError: a file can be neither linked nor copied.
    """

    def link(source_file: str, target_file: str) -> None:
        try:
            os.link(source_file, target_file)
        except OSError:
            if not may_copy:
                raise
            shutil.copy2(source_file, target_file)

    try:
        shutil.copytree(source, target, copy_function=link)
    except shutil.Error as error:
        # It goes on after an error and tells of all in the end; one is enough.
        raise OSError(0, str(error.args[0][0][2])) from error


def _remove_abandoned(build: Path) -> None:
    """What launchers have left that were killed together with their server."""
    for folder in build.parent.glob(f".{build.name}.served-*"):
        try:
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(folder, ignore_errors=True)
