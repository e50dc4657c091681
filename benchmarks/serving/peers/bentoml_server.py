"""BentoML: a service class; its batches grow and shrink with the latency that it learns."""

from pathlib import Path
from typing import Any

import bentoml
from asked import BATCH, KIND, WAITS, WORKERS, load_model, payload_of

# No annotations of the future in this file: BentoML reads them when the class is made.
Payload = dict[str, Any]
_options = {"workers": WORKERS, "traffic": {"timeout": 120}, "logging": {"access": {"enabled": False}}}


@bentoml.service(**_options)
class Served:
    def __init__(self) -> None:
        self.model = load_model()

    if WAITS:

        @bentoml.api
        async def predict(self, payload: Payload) -> Payload:
            return await self.model.answer_one(payload)

    elif KIND == "form" and BATCH > 1:

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60000)
        def predict(self, files: list[Path]) -> list[Payload]:
            return self.model.answer([file.read_bytes() for file in files])

    elif KIND == "form":

        @bentoml.api
        def predict(self, file: Path) -> Payload:
            return self.model.answer([file.read_bytes()])[0]

    elif BATCH > 1:

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60000)
        def predict(self, payloads: list[Payload]) -> list[Payload]:
            return self.model.answer([payload_of(payload) for payload in payloads])

    else:

        @bentoml.api
        def predict(self, payload: Payload) -> Payload:
            return self.model.answer([payload_of(payload)])[0]
