"""What /openapi.json and so /docs say of the APIs. Their routes are not FastAPI's, so it cannot know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .api_route import ApiRoute, Example

__all__ = ["describe_apis"]

_ERRORS = {
    "400": "The payload is not what its content type says, or the predictor refused it.",
    "408": "The body did not arrive in time.",
    "413": "The body is larger than the server allows.",
    "500": "The predictor failed; its log has the cause under the answer's x-request-id.",
    "503": "Too many requests are in flight, or the model is not ready. Retry-After says when to ask again.",
    "504": "The model did not answer in time.",
}


def describe_apis(document: dict[str, Any], paths: Mapping[str, ApiRoute]) -> dict[str, Any]:
    """Add the APIs' paths to an OpenAPI document."""
    for path, api in paths.items():
        document["paths"][path] = {"post": _operation(api, path)}
    return document


def _operation(api: ApiRoute, path: str) -> dict[str, Any]:
    return {
        "tags": [api.name],
        "summary": f"Ask {api.name} for a prediction",
        "operationId": f"predict_{api.name}{path.replace('/', '_')}",
        "requestBody": {"required": True, "content": _content(api.example)},
        "responses": {
            "200": _answer(api.streaming),
            **{status: {"description": text, "content": {"*/*": {}}} for status, text in _ERRORS.items()},
        },
    }


def _answer(streaming: bool) -> dict[str, Any]:
    returned = "What the predictor returned: JSON, text, bytes or a response of its own."
    whole: dict[str, Any] = {
        "application/json": {"schema": {}},
        "text/plain": {"schema": {"type": "string"}},
        "*/*": {},
    }
    if not streaming:
        return {"description": returned, "content": whole}
    in_chunks = " In chunks, each sent as it is made; an answer that breaks off has no end, which clients report."
    # OpenAPI 3.1 has no word for a sequence of JSON values.
    lines = {"schema": {"type": "string", "description": "A JSON value on each line."}}
    return {"description": returned + in_chunks, "content": {"application/x-ndjson": lines, **whole}}


def _content(example: Example | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {"schema": {}},
        "text/plain": {"schema": {"type": "string"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        "multipart/form-data": {"schema": {"type": "object"}},
    }
    if example is None:
        return content
    shown: Any = example.body
    if example.content_type == "application/json":
        try:
            shown = json.loads(example.body)
        except ValueError:
            return content
    # First, since the page offers the first one.
    described = {**content.pop(example.content_type, {"schema": {"type": "string"}}), "example": shown}
    return {example.content_type: described, **content}
