"""FastAPI as its tutorial has it: a plain function, which runs in its thread pool; with a batch, a queue before it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

import uvicorn
from asked import BATCH, KIND, PORT, WAITS, WORKERS, load_model, payload_of
from fastapi import Body, FastAPI, File, Request
from starlette.concurrency import run_in_threadpool

model = load_model()


class Batcher:
    """What waits while the model is busy goes to it together."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[tuple[Any, asyncio.Future[Any]]] = asyncio.Queue()

    async def ask(self, payload: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.waiting.put((payload, answer))
        return await answer

    async def run(self) -> None:
        while True:
            taken = [await self.waiting.get()]
            while len(taken) < BATCH and not self.waiting.empty():
                taken.append(self.waiting.get_nowait())
            found = await asyncio.to_thread(model.answer, [payload for payload, _ in taken])
            for (_, answer), result in zip(taken, found, strict=True):
                answer.set_result(result)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.batcher = Batcher()
    running = asyncio.create_task(app.state.batcher.run())
    yield
    running.cancel()


app = FastAPI(lifespan=lifespan)

if WAITS:

    @app.post("/predict")
    async def wait(payload: Annotated[dict[str, Any], Body()]) -> Any:
        return await model.answer_one(payload)

elif KIND == "form":

    @app.post("/predict")
    def take_form(file: Annotated[bytes, File()]) -> Any:
        return model.answer([file])[0]

elif KIND == "body":

    @app.post("/predict")
    async def take_body(request: Request) -> Any:
        payload = await request.body()
        if BATCH > 1:
            return await app.state.batcher.ask(payload)
        return (await run_in_threadpool(model.answer, [payload]))[0]

elif BATCH > 1:

    @app.post("/predict")
    async def take_batched(payload: Annotated[dict[str, Any], Body()]) -> Any:
        return await app.state.batcher.ask(payload_of(payload))

else:

    @app.post("/predict")
    def take(payload: Annotated[dict[str, Any], Body()]) -> Any:
        return model.answer([payload_of(payload)])[0]


if __name__ == "__main__":
    uvicorn.run(
        "fastapi_server:app", host="127.0.0.1", port=PORT, workers=WORKERS, log_level="warning", access_log=False
    )
