from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from cortex_compile.python_backend.response import encode

JSON = (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("result", "body", "content_type"),
    [
        (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
        (bytearray(b"ab"), b"ab", "application/octet-stream"),
        (memoryview(b"ab"), b"ab", "application/octet-stream"),
        ("gr\u00fcn", "gr\u00fcn".encode(), "text/plain; charset=utf-8"),
        (np.str_("x"), b"x", "text/plain; charset=utf-8"),
        (None, b"null", "application/json"),
        (True, b"true", "application/json"),
        ({1: ["gr\u00fcn", (1, 2.5)]}, b'{"1": ["gr\\u00fcn", [1, 2.5]]}', "application/json"),
        (np.float32(0.5), b"0.5", "application/json"),
        (np.int64(3), b"3", "application/json"),
        (np.bool_(True), b"true", "application/json"),
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), b"[[1, 2], [3, 4]]", "application/json"),
        ({"a": np.float64(0.1), "b": [np.array(7)]}, b'{"a": 0.1, "b": [7]}', "application/json"),
        (torch.tensor([1.5, 2.0], requires_grad=True), b"[1.5, 2.0]", "application/json"),
        ((torch.tensor(3), torch.tensor([True])), b"[3, [true]]", "application/json"),
        ([torch.tensor([1.5], dtype=torch.bfloat16)], b"[[1.5]]", "application/json"),
    ],
)
def test_encode(result: Any, body: bytes, content_type: str) -> None:
    encoded = encode(result)
    assert (encoded.body, encoded.status_code) == (body, 200)
    assert encoded.headers == (("content-type", content_type),)
    assert encoded.background is None


@pytest.mark.parametrize(
    ("result", "place"),
    [
        ({"scores": [1.0, 2.0, 3.0, float("nan")]}, r"nan at \$\.scores\[3\]"),
        (float("inf"), r"inf at \$ "),
        ([{"a": (0, -float("inf"))}], r"-inf at \$\[0\]\.a\[1\]"),
        ({"a": np.array([[0.0], [np.nan]], dtype=np.float32)}, r"nan at \$\.a\[1\]\[0\]"),
        ({"a": torch.tensor([0.0, float("inf")])}, r"inf at \$\.a\[1\]"),
        ({float("nan"): 1}, r"nan at the key nan of \$"),
    ],
)
def test_not_finite_is_refused_and_named(result: Any, place: str) -> None:
    with pytest.raises(ValueError, match=f"{place}.*replace it"):
        encode(result)


def test_not_finite_becomes_null_where_the_api_says_so() -> None:
    result = {
        "list": [1.5, float("nan"), (float("inf"), True, None)],
        "array": np.array([[0.0], [np.nan]], dtype=np.float32),
        "tensor": torch.tensor([0.5, -float("inf")]),
        "number": np.float32("nan"),
        "text": "NaN",
    }
    assert json.loads(encode(result, nan_as_null=True).body) == {
        "list": [1.5, None, [None, True, None]],
        "array": [[0.0], [None]],
        "tensor": [0.5, None],
        "number": None,
        "text": "NaN",
    }
    with pytest.raises(ValueError, match="the key nan"):
        encode({float("nan"): 1}, nan_as_null=True)
    circular: list[object] = []
    circular.append(circular)
    with pytest.raises(ValueError, match="Circular"):
        encode(circular, nan_as_null=True)


@pytest.mark.parametrize("result", [{1, 2}, object(), {"a": 1j}, {(1, 2): 3}])
def test_what_json_has_not_is_refused(result: Any) -> None:
    with pytest.raises(TypeError):
        encode(result)


def test_circle_is_refused() -> None:
    circle: list[Any] = [1.0]
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        encode(circle)


@pytest.mark.parametrize(
    ("response", "status_code", "headers", "body"),
    [
        (JSONResponse({"a": 1}, 400, {"X-A": "1"}), 400, (("x-a", "1"), *JSON), b'{"a":1}'),
        (PlainTextResponse("hi"), 200, (("content-type", "text/plain; charset=utf-8"),), b"hi"),
        (Response(status_code=204), 204, (), b""),
        (RedirectResponse("/there"), 307, (("location", "/there"),), b""),
        (Response(b"x", headers={"content-length": "1"}), 200, (), b"x"),
    ],
)
def test_starlette_responses_as_they_are(
    response: Response, status_code: int, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    encoded = encode(response)
    assert (encoded.status_code, encoded.headers, encoded.body) == (status_code, headers, body)


def test_repeated_headers_are_kept() -> None:
    response = Response(b"")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    assert [name for name, _ in encode(response).headers] == ["set-cookie", "set-cookie"]


def test_file_response(tmp_path: Path) -> None:
    from starlette.responses import FileResponse

    (tmp_path / "a.bin").write_bytes(b"x" * 200_000)
    encoded = encode(FileResponse(tmp_path / "a.bin"))
    assert encoded.body == b"x" * 200_000
    assert dict(encoded.headers)["content-type"] == "application/octet-stream"
