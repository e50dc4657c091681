"""Triton's way in. It imports this file as ``1.model``, so the runtime beside it is ``1._runtime``: a name that no
module of the predictor's can have or hide."""

from ._runtime.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
