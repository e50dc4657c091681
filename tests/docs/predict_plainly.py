"""Load the predictor in the working folder as Cortex did, answer the requests on stdin, write the answers to stdout."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response


class Models:
    """Cortex's python_client over a folder of NAME/VERSION/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.predictor: Any = None

    def get_model(self, name: str, version: str = "latest") -> Any:
        versions = sorted((path.name for path in (self.folder / name).iterdir()), key=int)
        return self.predictor.load_model(str(self.folder / name / (versions[-1] if version == "latest" else version)))


def main() -> None:
    sys.path.insert(0, ".")
    from predictor import PythonPredictor

    (api,) = yaml.safe_load(Path("cortex.yaml").read_text())
    settings = api["predictor"]
    arguments = {"config": settings.get("config", {})}
    models = None
    if "multi_model_reloading" in settings:
        models = arguments["python_client"] = Models(Path(settings["multi_model_reloading"]["dir"]))
    predictor = PythonPredictor(**arguments)
    if models is not None:
        models.predictor = predictor
    batched = "server_side_batching" in settings
    print(json.dumps([answer(predictor, request, batched) for request in json.load(sys.stdin)]))


def answer(predictor: Any, request: dict[str, Any], batched: bool) -> dict[str, Any]:
    offered = {
        "payload": parse(base64.b64decode(request["body"]), request["content_type"]),
        "query_params": QueryParams(request["query"]),
        "headers": Headers({**request["headers"], "content-type": request["content_type"]}),
    }
    accepted = inspect.signature(predictor.predict).parameters
    given = {name: [value] if batched else value for name, value in offered.items() if name in accepted}
    result = predictor.predict(**given)
    if batched:
        (result,) = result
    if isinstance(result, Iterator):
        result = "".join(result)
    if isinstance(result, Response):
        return {"status": result.status_code, "body": json.loads(result.body)}
    return {"status": 200, "body": result}


def parse(body: bytes, content_type: str) -> Any:
    if content_type.startswith("application/json"):
        return json.loads(body)
    if content_type.startswith("text/plain"):
        return body.decode()
    if content_type.startswith("multipart/form"):
        return asyncio.run(read_form(body, content_type))
    return body


async def read_form(body: bytes, content_type: str) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "headers": [(b"content-type", content_type.encode())]}
    return await Request(scope, receive).form()


if __name__ == "__main__":
    main()
