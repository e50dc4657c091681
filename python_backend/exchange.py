"""Find each compiled module in the loaded predictor, check that it is the same, and exchange its forward."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from .caches import is_first_step
from .compiled_forward import CallCounts, ReadyVariant, Session, make_compiled_forward
from .drift import find_drift
from .errors import BuildError
from .find_modules import find_modules
from .fingerprint import locate_attributes, watch_tensors
from .globals_read import locate_globals
from .kept_forwards import find_kept_forwards
from .manifest import Core, Dispatch, Manifest, Variant
from .open_session import open_session
from .released_weights import release_weights
from .remote_session import CallRemote, RemoteSession
from .shared_runs import SharingSession
from .turn import PassingSession, PassTurn, Turn
from .weights import map_weights

__all__ = ["CallRemote", "ExchangedCore", "exchange_cores", "install_forward"]

logger = logging.getLogger("cortex_compile.runtime")


@dataclass
class ExchangedCore:
    """What became of a core at start. ``state`` is eager when the module is not what was compiled; then ``reason``
    says what differs, and ``detail`` what the log alone is told. ``counts`` goes on counting."""

    name: str
    path: str
    state: Literal["compiled", "eager"]
    reason: str
    counts: CallCounts = field(default_factory=CallCounts)
    detail: str = ""


@dataclass(frozen=True)
class _Passing:
    """Makes sessions whose calls pass the turn on, and share runs as ``dispatch`` says."""

    turn: PassTurn
    dispatch: Dispatch | None
    version_folder: Path

    def __call__(self, core: Core, variant: Variant, session: Session) -> Session:
        """
        Raises:
            BuildError: the graph cannot be opened once more.
        """
        shared = core.shared_run if core.placement == "local" and variant.may_share_runs else None
        if self.dispatch is None or self.dispatch.shared_rows == 1 or shared is None or not isinstance(self.turn, Turn):
            return PassingSession(session, self.turn)
        one_thread = None
        # With one thread a graph is only used where it was proven so.
        if self.dispatch.side_by_side and core.threads > 1 and shared.side_by_side_from is not None:
            one_thread = open_session(core.engine, self.version_folder / variant.graph, 1)
        return SharingSession(session, variant, core, self.turn, one_thread)


def exchange_cores(
    predictor: object,
    user_module: ModuleType,
    manifest: Manifest,
    version_folder: Path,
    call_remote: CallRemote | None,
    turn: PassTurn | None = None,
) -> tuple[ExchangedCore, ...]:
    """Exchange the forward of every module that is still what was compiled; the others stay eager, with an alarm.

    ``call_remote`` answers for remote cores; without one they stay eager. ``turn`` is passed on while a core runs whose
    calls are worth it; where it is a ``Turn``, calls of a local core share runs as the manifest's dispatch says.
    """
    modules = find_modules(predictor, user_module)
    passing = None if turn is None else _Passing(turn, manifest.dispatch, version_folder)
    exchanged = []
    for core in manifest.cores:
        reason = find_drift(core, modules.get(core.path), manifest, version_folder)
        if reason is None and device_type_of(modules[core.path]) not in devices_of(core):
            reason = "its weights are on a GPU, and its graphs run on the CPU; placed remote, they run on the GPU too"
        if reason is None and core.placement == "remote" and call_remote is None:
            reason = "it is a Triton model, and there is no Triton here"
        if reason is None:
            result = _exchange(core, modules[core.path], version_folder, call_remote, passing)
        else:
            result = ExchangedCore(core.name, core.path, "eager", reason)
        if result.state == "eager":
            told = f"{result.reason} ({result.detail})" if result.detail else result.reason
            logger.error("module %s stays eager although it was compiled: %s", core.path, told)
        else:
            logger.info("module %s runs on %s (%s)", core.path, core.engine, core.placement)
        exchanged.append(result)
    compiled = {id(modules[core.path]) for core in exchanged if core.state == "compiled"}
    for kept in find_kept_forwards(predictor, user_module):
        if id(kept.module) in compiled:
            kept.call_late()
    return tuple(exchanged)


def _exchange(
    core: Core,
    module: Any,
    version_folder: Path,
    call_remote: CallRemote | None,
    passing: _Passing | None,
) -> ExchangedCore:
    counts = CallCounts()
    try:
        sessions = [_open_session(core, variant, version_folder, call_remote) for variant in core.variants]
        pairs = list(zip(core.variants, sessions, strict=True))
        if passing is not None and core.passes_turn:
            pairs = [(variant, passing(core, variant, session)) for variant, session in pairs]
        variants = [ReadyVariant(*pair) for pair in pairs]
    except BuildError as error:
        return ExchangedCore(core.name, core.path, "eager", "its graph cannot be opened", detail=str(error))
    install_forward(core, module, variants, counts)
    if core.weights_file is not None:
        file = version_folder / core.weights_file
        named = dict(module.named_parameters(remove_duplicate=False))
        on_cpu = [spec for spec in core.parameters if named[spec.name].device.type == "cpu"]
        elsewhere = [spec for spec in core.parameters if named[spec.name].device.type != "cpu"]
        del named  # what refers to a parameter keeps its memory
        released = map_weights(module, file, on_cpu)
        logger.info("module %s: %.0f MiB of weights mapped from disk", core.path, released / 2**20)
        if elsewhere:
            released = release_weights(module, file, elsewhere)
            logger.info("module %s: %.0f MiB of GPU memory given back", core.path, released / 2**20)
    return ExchangedCore(core.name, core.path, "compiled", "", counts)


def _open_session(core: Core, variant: Variant, version_folder: Path, call_remote: CallRemote | None) -> Session:
    if core.placement == "remote":
        assert call_remote is not None  # exchange_cores has looked
        return RemoteSession(call_remote, variant)
    seldom = is_first_step(variant.argument_caches, [other.argument_caches for other in core.variants])
    return open_session(core.engine, version_folder / variant.graph, core.threads, pack_weights=not seldom)


def devices_of(core: Core) -> frozenset[str]:
    """On what the tensors of a call may be for its graphs to take them as they are."""
    on_gpu = core.placement == "remote" or core.engine == "tensorrt"
    return frozenset({"cpu", "cuda"} if on_gpu else {"cpu"})


def device_type_of(module: Any) -> str:
    """Where a module's weights are: ``cpu`` or ``cuda``."""
    tensor = next(chain(module.parameters(), module.buffers()), None)
    return "cpu" if tensor is None else str(tensor.device.type)


def install_forward(core: Core, module: Any, variants: Sequence[ReadyVariant], counts: CallCounts) -> None:
    """Exchange ``module.forward`` on the instance; ``del module.forward`` undoes it."""
    watched = [*locate_attributes(module, core.attributes), *locate_globals(module, core.globals)]
    module.forward = make_compiled_forward(
        core.path, module.forward, variants, watched, counts, devices_of(core), watch_tensors(module)
    )
