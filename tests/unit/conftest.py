from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

PREDICTORS = Path(__file__).parents[1] / "predictors"


@pytest.fixture
def predictors() -> Path:
    """Real predictors, the smallest that show one thing each."""
    return PREDICTORS


@pytest.fixture
def process_as_before(tmp_path: Path) -> Iterator[None]:
    """Loading a predictor changes the working folder, the environment, the import path and the loaded modules."""
    folder, path, environment = Path.cwd(), list(sys.path), dict(os.environ)
    yield
    os.chdir(folder)
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if name.startswith("cortex_internal") or file.startswith((str(PREDICTORS), str(tmp_path))):
            del sys.modules[name]
