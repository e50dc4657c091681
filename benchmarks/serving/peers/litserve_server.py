"""LitServe: decode, predict and encode as hooks of a LitAPI; batches by its own window."""

from __future__ import annotations

import litserve
from asked import BATCH, KIND, PORT, WAITS, WORKERS, load_model, payload_of


class Served(litserve.LitAPI):
    def setup(self, device):
        self.model = load_model()

    def decode_request(self, request):
        return request["file"].file.read() if KIND == "form" else payload_of(request)

    def predict(self, payloads):
        return self.model.answer(payloads) if BATCH > 1 else self.model.answer([payloads])[0]


class Waiting(litserve.LitAPI):
    def setup(self, device):
        self.model = load_model()

    async def decode_request(self, request):
        return request

    async def predict(self, payload):
        return await self.model.answer_one(payload)

    async def encode_response(self, output):
        return output


if __name__ == "__main__":
    if WAITS:
        api = Waiting(enable_async=True)
    elif BATCH > 1:
        api = Served(max_batch_size=BATCH, batch_timeout=0.002)
    else:
        api = Served()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, timeout=120)
    server.run(host="127.0.0.1", port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning")
