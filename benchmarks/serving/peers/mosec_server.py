"""mosec: a worker process or several behind its front end in Rust, which makes the batches."""

from __future__ import annotations

from asked import BATCH, KIND, WORKERS, load_model, payload_of
from mosec import Server, Worker


class Served(Worker):
    def __init__(self):
        super().__init__()
        self.model = load_model()

    def deserialize(self, data):
        return data if KIND == "body" else payload_of(super().deserialize(data))

    def forward(self, data):
        return self.model.answer(data) if BATCH > 1 else self.model.answer([data])[0]


if __name__ == "__main__":
    server = Server()
    wait_ms = 2 if BATCH > 1 else 0
    server.append_worker(
        Served, num=WORKERS, max_batch_size=BATCH, max_wait_time=wait_ms, route="/predict", timeout=120
    )
    server.run()
