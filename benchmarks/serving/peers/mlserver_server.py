"""MLServer: a runtime of one's own, that takes and gives strings by the V2 protocol."""

from __future__ import annotations

import base64
import json

from asked import KIND, WAITS, load_model
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Served(MLModel):
    async def load(self) -> bool:
        self.model = load_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        if WAITS:
            found = [await self.model.answer_one({"text": text}) for text in texts]
        elif KIND == "json":
            found = self.model.answer([{"text": text} for text in texts])
        else:
            found = self.model.answer([base64.b64decode(text) for text in texts])
        output = StringCodec.encode_output("answer", [json.dumps(answer) for answer in found])
        return InferenceResponse(model_name=self.name, outputs=[output])
