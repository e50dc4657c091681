"""A predictor's module taken through capture, export, proof and exchange, in one process and in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import Candidate
from cortex_compile.compiler.capture_modules import CapturedModule, capture_modules
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.try_candidate import try_candidate
from cortex_compile.python_backend.exchange import ExchangedCore, exchange_cores
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Manifest

USER_MODULE = ModuleType("cortex_predictor")


class Predictor:
    def __init__(self, net: nn.Module, **more: Any) -> None:
        self.net = net.eval()
        vars(self).update(more)


def capture_net(predictor: Predictor, answer: Callable[[], Any]) -> CapturedModule:
    (captured,) = capture_modules(predictor, USER_MODULE, Path(__file__).parent, answer)
    return captured


def exchange_net(predictor: Predictor, answer: Callable[[], Any], folder: Path) -> ExchangedCore | str:
    """The core that runs in place of ``predictor.net``, or why it stays eager."""
    captured = capture_net(predictor, answer)
    if captured.refused is not None:
        return captured.refused
    candidates, reasons = [], []
    for number, signature in enumerate(captured.signatures.values()):
        place = folder / f"v{number}"
        attempt, variant = try_candidate(
            captured, signature, place.name, find_engine("onnxruntime"), place, 1, "", lambda _: None, Tolerances()
        )
        reasons.append(attempt.reason)
        if variant is not None:
            candidates.append(Candidate("net", place.name, attempt, variant, place.name))
    if not candidates:
        return "; ".join(reasons)
    chosen = finish_core(captured, "net", "onnxruntime", candidates, folder, 1)
    manifest = Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), (chosen.core,), {})
    (core,) = exchange_cores(predictor, USER_MODULE, manifest, chosen.folder, None)
    return core
