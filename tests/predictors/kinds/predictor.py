"""Answers in the way that the payload names."""

import sys

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, StreamingResponse

DONE = []


def count():
    yield "one "
    yield b"two"


async def count_later():
    yield "three"


def break_off():
    yield "one "
    raise OSError("the disk is gone")


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return getattr(self, payload)()

    def json_response(self):
        return JSONResponse({"error": "unknown model"}, status_code=400, headers={"x-model": "none"})

    def stream(self):
        return StreamingResponse(count(), media_type="video/mp4", background=BackgroundTask(DONE.append, "stream"))

    def stream_later(self):
        return StreamingResponse(count_later(), status_code=206)

    def broken_stream(self):
        return StreamingResponse(break_off())

    def file(self):
        return FileResponse(__file__, media_type="text/x-python")

    def with_task(self):
        return JSONResponse(1, background=BackgroundTask(DONE.append, "json"))

    def refuse(self):
        raise HTTPException(418, "short and stout", headers={"x-pot": "tea"})

    def fail(self):
        raise KeyError("no such label")

    def leave(self):
        sys.exit("bye")

    def not_json(self):
        return {"labels": {1, 2}}

    def not_finite(self):
        return {"scores": [0.5, float("nan")]}
