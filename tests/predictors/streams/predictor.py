import asyncio
import threading
import time
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse


class PythonPredictor:
    def __init__(self, config):
        self.thread = threading.get_ident()

    def predict(self, payload):
        return getattr(self, payload.pop("do"))(**payload)

    def generator(self, **files):
        yield from self.chunks(**files)

    def kept(self, **files):
        self.stream = self.chunks(**files)
        return self.stream

    async def async_generator(self, **files):
        for chunk in self.chunks(**files):
            yield chunk
            await asyncio.sleep(0)

    def response(self, task=None, **files):
        headers = {"x-kind": "stream", "content-length": "1"}
        after = BackgroundTask(Path(task).touch) if task else None
        return StreamingResponse(self.chunks(**files), 207, headers, "video/mp4", after)

    def async_response(self, **files):
        return StreamingResponse(self.async_generator(**files), media_type="text/event-stream")

    def chunks(self, go=None, here=None, ended=None, forever=False):
        """One chunk, one more when ``go`` is there, then the end; ``ended`` tells in which thread that was."""
        try:
            if here:
                Path(here).touch()
            yield "one "
            while go and not Path(go).exists():
                time.sleep(0.01)
            yield "two"
            while forever:
                time.sleep(0.01)
                yield "and on"
        finally:
            if ended:
                Path(ended).write_text("predict" if threading.get_ident() == self.thread else "another")

    def count(self, name, to):
        for number in range(to):
            yield {"name": name, "number": number}

    def kinds(self, first):
        yield {"bytes": b"\xff", "text": "grün", "json": [1, None], "nothing": ""}[first]
        yield from (b"|", "text", 2.5, {"a": float("1")})

    def empty(self):
        yield from ()

    def whole(self):
        return {"not": "streamed"}

    def fail_at_once(self):
        yield from {}["no such key"]

    def refuse(self):
        if True:
            raise HTTPException(418, "short and stout")
        yield "never"

    def fail_later(self):
        yield "one"
        raise OSError("the disk is gone")

    def not_json_later(self):
        yield "one"
        yield {1, 2}

    def fail_at_the_end(self):
        try:
            yield "one"
        finally:
            raise OSError("cannot close")

    def never_begin(self, here, go):
        Path(here).touch()
        while not Path(go).exists():
            time.sleep(0.01)
        yield "late"
