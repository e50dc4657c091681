"""Put a finished build at its place, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from cortex_compile.compiler.undisturbed import undisturbed
from cortex_compile.errors import ProjectError

__all__ = ["publish", "work_folder"]


@contextlib.contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """An empty folder beside ``output``, on the same file system, that is gone afterwards, also after Ctrl-C.

    Raises:
        ProjectError: nothing can be written there, or ``output`` is there and must not be replaced.
    """
    _check_replaceable(output)
    made = [folder for folder in (output.parent, *output.parent.parents) if not folder.exists()]
    temporary = _beside(output)
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise ProjectError(
                f"{output}: cannot be written ({error.strerror}). Give another folder with --output."
            ) from error
        yield temporary
    finally:
        with undisturbed():
            shutil.rmtree(temporary, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Stops at the first folder that is not empty: a build was published into it.
                for folder in made:
                    folder.rmdir()


def publish(temporary: Path, output: Path) -> None:
    """Rename ``temporary``, a whole build, to ``output``. An earlier build there is removed when the new one stands.

    Raises:
        ProjectError: ``output`` is neither a build nor an empty folder, or cannot be written. It is as it was then.
    """
    _check_replaceable(output)
    with undisturbed():
        _exchange(temporary, output)


def _exchange(temporary: Path, output: Path) -> None:
    old = _beside(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if not output.exists():
            temporary.rename(output)
            return
        output.rename(old)
        try:
            temporary.rename(output)
        except BaseException:
            old.rename(output)
            raise
    except OSError as error:
        raise ProjectError(
            f"{output}: cannot be written ({error.strerror}). Give another folder with --output."
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def _beside(output: Path) -> Path:
    """A new name with a dot, which no listing and no project shows. Not mkdtemp's: others must be able to read it."""
    return output.parent / f".{output.name}.{os.getpid()}-{secrets.token_hex(4)}"


def _check_replaceable(output: Path) -> None:
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_dir():
        raise ProjectError(f"{output}: is there and is not a plain folder. Give another one with --output.")
    try:
        if not any(output.iterdir()) or _is_build(output):
            return
    except OSError as error:
        raise ProjectError(
            f"{output}: cannot be read ({error.strerror}). Give another folder with --output."
        ) from error
    raise ProjectError(f"{output}: is not empty and is not a build, so it is not replaced. Give another with --output.")


def _is_build(folder: Path) -> bool:
    """Whether this project wrote it; builds of other versions count."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"version", "predictor", "cores", "files"} <= set(manifest)
