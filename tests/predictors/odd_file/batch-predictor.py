"""A name that is no module's, a future import first, and several classes."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass


@dataclass
class Counter:
    count: int = 0


class Base:
    def predict(self, payload):
        return pickle.loads(pickle.dumps(Counter(payload))).count


class PythonPredictor(Base):
    def __init__(self, config=None):
        self.seen = OrderedDict()


class Unused:
    pass
