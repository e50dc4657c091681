"""Chunks, the second of which waits until it is let go on."""

import os
import time

from starlette.responses import StreamingResponse


def chunks(payload):
    try:
        yield "one "
        while payload.get("wait_for") and not os.path.exists(payload["wait_for"]):
            time.sleep(0.01)
        yield "two"
        while payload.get("for_ever"):
            yield "and on"
            time.sleep(0.01)
    finally:
        if "ended" in payload:
            os.mkdir(payload["ended"])


def respond(payload):
    return StreamingResponse(chunks(payload), status_code=206, media_type="video/mp4")
