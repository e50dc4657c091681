"""The engine of a local core, opened in this process."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .compiled_forward import Session
from .errors import BuildError

__all__ = ["open_session"]

# The engines of other packages, as cortex_compile/backends/plugins.py finds them where a build is made.
_GROUP = "cortex_compile.engines"


def open_session(engine: str, graph: Path, threads: int, **options: Any) -> Session:
    """``options`` are those of ONNX Runtime's session; the other engines have none.

    Raises:
        BuildError: there is no such engine here, or it cannot load the graph.
    """
    if engine == "onnxruntime":
        from .onnxruntime_session import OnnxRuntimeSession

        return OnnxRuntimeSession(graph, threads, **options)
    if engine == "openvino":
        from .openvino_session import OpenVinoSession

        return OpenVinoSession(graph, threads)
    if engine == "tensorrt":
        from .tensorrt_session import TensorRtSession

        return TensorRtSession(graph)
    return _open_by_package(engine, graph, threads)


def _open_by_package(engine: str, graph: Path, threads: int) -> Session:
    for entry in entry_points(group=_GROUP, name=engine):
        try:
            session: Session = entry.load()().open_session(graph, threads)
        except Exception as error:
            package = entry.dist.name if entry.dist else entry.value
            raise BuildError(f"engine {engine!r} of the package {package}: {type(error).__name__}: {error}") from error
        return session
    raise BuildError(f"engine {engine!r} is not installed here; the build's requirements name its package")
