"""What a server of a peer is asked to do, by its environment, and the model that it serves."""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

KIND = os.environ["BENCH_KIND"]  # json, body, form or base64
WAITS = os.environ["BENCH_WAITS"] == "1"
BATCH = int(os.environ["BENCH_BATCH"])  # 1: none
WORKERS = int(os.environ["BENCH_WORKERS"])
THREADS = int(os.environ["BENCH_THREADS"])
PORT = int(os.environ["BENCH_PORT"])
CORES = int(os.environ["BENCH_CORES"])


def load_model() -> Any:
    folder = os.environ["BENCH_FOLDER"]
    sys.path.insert(0, folder)
    from model import Model

    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(THREADS)
    return Model()


def payload_of(value: Any) -> Any:
    """What the model takes, of what the JSON held."""
    return base64.b64decode(value["file"]) if KIND == "base64" else value
