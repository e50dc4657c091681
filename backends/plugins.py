"""Engines of other packages, found by their entry points in the group ``cortex_compile.engines``.

A package is loaded when its engine is asked for by name, or by ``doctor``. One that fails is an engine that is missing,
with its package's name, and stops nobody who did not ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NoReturn

from cortex_compile.backends.protocol import Engine, ExportRequest, Missing, Refused
from cortex_compile.errors import EngineError

__all__ = ["GROUP", "BrokenEngine", "plugin_engines"]

GROUP = "cortex_compile.engines"


@dataclass(frozen=True)
class BrokenEngine:
    """Stands where another package's engine would, and says what is wrong with it."""

    name: str
    missing: Missing
    exporters: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def availability(self) -> Missing:
        return self.missing

    def export(self, request: ExportRequest, folder: Path) -> Refused:
        return Refused("export", self.missing.reason)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> NoReturn:
        raise EngineError(f"engine {self.name!r}: {self.missing.reason}")

    def triton_settings(self, threads: int) -> None:
        return None


def plugin_engines(taken: Sequence[str]) -> Iterator[Engine]:
    """Load every package's engine; those with a name that is ``taken``, or that comes twice, are broken ones."""
    names = list(taken)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _distribution_of(entry))):
        if entry.name in names:
            yield _broken(entry, f"its name {entry.name!r} is taken by another engine")
        else:
            names.append(entry.name)
            yield _load(entry)


def _load(entry: EntryPoint) -> Engine:
    try:
        engine = entry.load()()
    except Exception as error:
        return _broken(entry, f"{entry.value} cannot be loaded ({type(error).__name__}: {_first_line(error)})")
    if not isinstance(engine, Engine):
        lacking = ", ".join(sorted(name for name in _methods() if not hasattr(engine, name)))
        return _broken(entry, f"{entry.value} is no engine of this release: it has no {lacking}")
    if engine.name != entry.name:
        return _broken(entry, f"{entry.value} calls itself {engine.name!r}, and its entry point is {entry.name!r}")
    return engine


def _broken(entry: EntryPoint, reason: str) -> BrokenEngine:
    distribution = _distribution_of(entry)
    version = entry.dist.version if entry.dist else "of unknown version"
    remedy = f"update the package, or pip uninstall {distribution}"
    return BrokenEngine(entry.name, Missing(f"the package {distribution} {version}: {reason}", remedy))


def _distribution_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _methods() -> list[str]:
    return [name for name in dir(Engine) if not name.startswith("_")]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
