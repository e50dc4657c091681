"""The requests on which a predictor is watched: from the command line, from cortex.yaml, or ``sample*`` beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cortex_compile.compiler.artifacts import Sample
from cortex_compile.compiler.cortex_yaml_schema import SampleEntry
from cortex_compile.content_types import content_type_of, split_query
from cortex_compile.errors import ProjectError

__all__ = ["default_samples", "read_listed_samples", "read_sample"]

# A script or a note called sample-something is not a request.
_NOT_SAMPLES = frozenset({".py", ".pyc", ".ipynb", ".sh", ".md", ".yaml", ".yml"})


def read_sample(text: str) -> Sample:
    """The sample of ``FILE[?QUERY]``, as ``--sample`` takes it.

    Raises:
        ProjectError: there is no such file, or it says .json and is not JSON.
    """
    path, query = (text, "") if os.path.isfile(text) else split_query(text)
    return _read(Path(path), query, (), where="--sample")


def read_listed_samples(folder: Path, entries: Sequence[SampleEntry], where: Sequence[str]) -> tuple[Sample, ...]:
    """The samples of ``compile.samples``; ``where`` says for each entry where it stands.

    Raises:
        ProjectError: as ``read_sample``.
    """
    samples = []
    for entry, place in zip(entries, where, strict=True):
        path, query = (entry.file, "") if os.path.isfile(folder / entry.file) else split_query(entry.file)
        query = "&".join(part for part in (query, entry.query.removeprefix("?")) if part)
        samples.append(_read(folder / path, query, tuple(entry.headers.items()), where=place))
    return tuple(samples)


def default_samples(folder: Path) -> tuple[Sample, ...]:
    """Each file of the folder whose name begins with ``sample``, by name.

    Raises:
        ProjectError: as ``read_sample``.
    """
    paths = sorted(path for path in folder.glob("sample*") if path.is_file() and path.suffix not in _NOT_SAMPLES)
    return tuple(_read(path, "", (), where=str(path.parent)) for path in paths)


def _read(path: Path, query: str, headers: tuple[tuple[str, str], ...], where: str) -> Sample:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise ProjectError(f"{where}: there is no sample file {str(path)!r}.") from None
    except IsADirectoryError:
        raise ProjectError(f"{where}: the sample {str(path)!r} is a folder, expected a file.") from None
    except OSError as error:
        raise ProjectError(f"{where}: the sample {str(path)!r} cannot be read ({error.strerror}).") from error
    content_type = next((value for name, value in headers if name.lower() == "content-type"), content_type_of(path))
    if content_type.lower().startswith("application/json"):
        _check_json(path, body)
    rest = tuple((name, value) for name, value in headers if name.lower() != "content-type")
    return Sample(f"{path.name}?{query}" if query else path.name, body, content_type, query, rest)


def _check_json(path: Path, body: bytes) -> None:
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise ProjectError(
            f"{place}: the sample is not JSON: {error.msg}. Correct it, or name it .txt or .bin."
        ) from None
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path}: the sample is not JSON: byte {error.start} is not UTF-8.") from None
    except RecursionError:
        raise ProjectError(f"{path}: the sample is JSON of more levels than Python can read.") from None
