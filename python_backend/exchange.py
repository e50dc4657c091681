"""Find each compiled module in the loaded predictor, check that it is the same, and exchange its forward."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from .compiled_forward import CallCounts, ReadyVariant, Session, make_compiled_forward
from .errors import BuildError
from .find_modules import find_modules
from .fingerprint import changed_attribute, class_name, locate_attributes, structure_sha256, weights_sha256
from .manifest import Core, Manifest, Variant
from .remote_session import CallRemote, RemoteSession
from .weights import map_weights

__all__ = ["CallRemote", "ExchangedCore", "exchange_cores", "hooked_part", "install_forward"]

logger = logging.getLogger("cortex_compile.runtime")

@dataclass
class ExchangedCore:
    """What became of a core at start. ``state`` is eager when the module is not what was compiled; then ``reason``
    says what differs. ``counts`` goes on counting."""

    name: str
    path: str
    state: Literal["compiled", "eager"]
    reason: str
    counts: CallCounts = field(default_factory=CallCounts)


def exchange_cores(
    predictor: object,
    user_module: ModuleType,
    manifest: Manifest,
    version_folder: Path,
    call_remote: CallRemote | None,
) -> tuple[ExchangedCore, ...]:
    """Exchange the forward of every module that is still what was compiled; the others stay eager, with an alarm.

    ``call_remote`` answers for remote cores; without one they stay eager.
    """
    modules = find_modules(predictor, user_module)
    exchanged = []
    for core in manifest.cores:
        reason = _difference(core, modules.get(core.path), manifest, call_remote)
        if reason is None:
            result = _exchange(core, modules[core.path], version_folder, call_remote)
        else:
            result = ExchangedCore(core.name, core.path, "eager", reason)
        if result.state == "eager":
            logger.error("module %s stays eager: %s", core.path, result.reason)
        else:
            logger.info("module %s runs on %s (%s)", core.path, core.engine, core.placement)
        exchanged.append(result)
    return tuple(exchanged)


def _difference(core: Core, module: Any, manifest: Manifest, call_remote: CallRemote | None) -> str | None:
    if module is None:
        return f"the predictor has no module at {core.path}"
    if class_name(module) != core.class_name:
        return f"it is a {class_name(module)}, compiled was a {core.class_name}"
    import torch

    compiled_with = manifest.compiled_with.get("torch")
    if compiled_with is not None and compiled_with != torch.__version__:
        return f"torch is {torch.__version__}, compiled with {compiled_with}; compile again"
    if structure_sha256(module) != core.structure_sha256:
        return "its structure or config differs from the compiled one; compile again"
    if weights_sha256(module) != core.weights_sha256:
        return "its weights differ from the compiled ones; compile again"
    if hooked_part(module) is not None:
        return f"its part {hooked_part(module)!r} has a hook, which a compiled module would not call"
    if core.placement == "remote" and call_remote is None:
        return "it is a Triton model, and there is no Triton here"
    changed = changed_attribute(locate_attributes(module, core.attributes))
    if changed is not None:
        return f"its attribute {changed!r} differs from the compiled one; compile again"
    return None


def hooked_part(module: Any) -> str | None:
    """The name of a submodule (not the module itself) that has a forward hook, or None."""
    for name, part in module.named_modules():
        if name and (part._forward_hooks or part._forward_pre_hooks):
            return str(name)
    return None


def _exchange(core: Core, module: Any, version_folder: Path, call_remote: CallRemote | None) -> ExchangedCore:
    counts = CallCounts()
    try:
        variants = [
            ReadyVariant(variant, _open_session(core, variant, version_folder, call_remote))
            for variant in core.variants
        ]
    except BuildError as error:
        return ExchangedCore(core.name, core.path, "eager", str(error))
    install_forward(core, module, variants, counts)
    if core.weights_file is not None:
        released = map_weights(module, version_folder / core.weights_file, core.parameters)
        logger.info("module %s: %.0f MiB of weights mapped from disk", core.path, released / 2**20)
    return ExchangedCore(core.name, core.path, "compiled", "", counts)


def _open_session(core: Core, variant: Variant, version_folder: Path, call_remote: CallRemote | None) -> Session:
    if core.placement == "remote":
        assert call_remote is not None  # _difference has looked
        return RemoteSession(call_remote, variant)
    if core.engine == "onnxruntime":
        from .onnxruntime_session import OnnxRuntimeSession

        return OnnxRuntimeSession(version_folder / variant.graph, core.threads)
    raise BuildError(f"engine {core.engine!r} is unknown to this runtime")


def install_forward(core: Core, module: Any, variants: Sequence[ReadyVariant], counts: CallCounts) -> None:
    """Exchange ``module.forward`` on the instance; ``del module.forward`` undoes it."""
    attributes = locate_attributes(module, core.attributes)
    module.forward = make_compiled_forward(core.path, module.forward, variants, attributes, counts)
