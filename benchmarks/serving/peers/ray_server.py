"""Ray Serve: replicas of a deployment, with its decorator for batches."""

from __future__ import annotations

import os
import signal

import ray
from asked import BATCH, CORES, KIND, PORT, WAITS, WORKERS, load_model, payload_of
from ray import serve


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Served:
    def __init__(self):
        self.model = load_model()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.002)
    async def answer_batch(self, payloads):
        return self.model.answer(payloads)

    async def __call__(self, request):
        if KIND == "body":
            payload = await request.body()
        elif KIND == "form":
            payload = await (await request.form())["file"].read()
        else:
            payload = payload_of(await request.json())
        if WAITS:
            return await self.model.answer_one(payload)
        return await self.answer_batch(payload) if BATCH > 1 else self.model.answer([payload])[0]


if __name__ == "__main__":
    told = {name: value for name, value in os.environ.items() if name.startswith(("BENCH_", "OMP_", "PYTHONPATH"))}
    ray.init(
        address="local",
        num_cpus=max(2, CORES),
        include_dashboard=False,
        runtime_env={"env_vars": told},
        logging_level="warning",
        object_store_memory=200 * 2**20,
        _temp_dir=os.environ["BENCH_TEMP"],
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
    serve.run(Served.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()
