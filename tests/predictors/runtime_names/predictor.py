"""Modules named as the runtime's are: one that the user has, and ones that must not be found."""

from importlib.util import find_spec

import model


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self):
        return [model.WHOSE, *(find_spec(name) is None for name in ("_runtime", "answer", "tensors"))]
