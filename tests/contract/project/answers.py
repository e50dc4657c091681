"""Returns or raises what the payload names."""

import sys

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response


def cookies():
    response = Response("two", headers={"x-one": "1", "connection": "x-hop", "x-hop": "1"})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        import numpy as np
        import torch

        if payload == "http exception":
            raise HTTPException(status_code=418, detail="short and stout")
        if payload == "http exception with a header":
            raise HTTPException(status_code=401, detail={"who": "are you"}, headers={"www-authenticate": "Basic"})
        if payload == "exception":
            raise KeyError("secret-label")
        if payload == "exit":
            sys.exit("secret-exit")
        if isinstance(payload, dict):
            return Response("later", background=BackgroundTask(open, payload["touch"], "w"))
        return {
            "bytes": lambda: b"\x00\xff",
            "no bytes": lambda: b"",
            "bytearray": lambda: bytearray(b"\x00\xff"),
            "str": lambda: 'caf\u00e9 "quoted"',
            "np.str_": lambda: np.str_("setosa"),
            "plain": lambda: {"a": [1, 2.5, True, None], "\u00e9": ("x", "y")},
            "keys": lambda: {1: "a", 2.5: "b", None: "c", False: "d"},
            "none": lambda: None,
            "np.float64": lambda: np.float64(0.5),
            "numpy scalars": lambda: [np.float32(0.5), np.int64(3), np.bool_(True)],
            "ndarray": lambda: {"a": np.array([[1.5, 2.0]], dtype=np.float32)},
            "tensor": lambda: {"a": torch.tensor([[1.5, 2.0]], requires_grad=True), "b": torch.tensor(3)},
            "set": lambda: {1, 2},
            "nan": lambda: {"scores": [0.5, float("nan")]},
            "np nan": lambda: {"scores": np.array([0.5, np.inf])},
            "json response": lambda: JSONResponse(
                {"error": "no such model"}, status_code=400, headers={"x-model": "none"}
            ),
            "html": lambda: HTMLResponse("<p>"),
            "redirect": lambda: RedirectResponse("/elsewhere"),
            "file": lambda: FileResponse("labels.json", media_type="application/x-labels"),
            "no content": lambda: Response(status_code=204),
            "cookies": cookies,
        }[payload]()
