"""`cortex-compile predict`: one sample, one answer."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from cortex_compile.content_types import content_type_of, split_query
from cortex_compile.errors import ServiceError, UsageError

__all__ = ["predict"]

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class _Request:
    body: bytes
    content_type: str
    query: str


@dataclass(frozen=True)
class _Answer:
    status_code: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float

    def content_type(self) -> str:
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")


@click.command(short_help="Send a sample to a build or to a URL.")
@click.argument("target", metavar="BUILD|URL")
@click.argument("sample", metavar="SAMPLE[?QUERY]")
@click.option("--json", "as_json", is_flag=True, help="Print status, headers, body and seconds as one JSON object.")
def predict(target: str, sample: str, as_json: bool) -> None:
    """Send a sample to a build or to a URL.

    The file's extension gives the content type. A build is started on the embedded server, asked and stopped.
    """
    request = _read_sample(sample)
    is_url = target.startswith(("http://", "https://"))
    answer = _ask_url(target, request) if is_url else _ask_build(Path(target), request)
    if as_json:
        click.echo(_as_json(answer))
    else:
        _show(answer)
    if answer.status_code >= 400:
        raise ServiceError(f"{target} answered {_status_line(answer.status_code)}")


def _read_sample(sample: str) -> _Request:
    path, query = split_query(sample)
    try:
        return _Request(Path(path).read_bytes(), content_type_of(path), query)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"the sample {path!r} cannot be read ({reason}); name a file, as in sample.json") from None


def _ask_url(url: str, request: _Request) -> _Answer:
    import httpx

    try:
        address = httpx.URL(url)
        query = "&".join(part for part in (address.query.decode("latin-1"), request.query) if part)
        address = address.copy_with(query=query.encode() or None)
        started = time.perf_counter()
        response = httpx.post(
            address, content=request.body, headers={"content-type": request.content_type}, timeout=_TIMEOUT_S
        )
        seconds = time.perf_counter() - started
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not a URL ({error})") from None
    except httpx.HTTPError as error:
        raise ServiceError(f"{url} cannot be reached ({error}); is `cortex-compile serve` running there?") from None
    return _Answer(response.status_code, response.headers.multi_items(), response.content, seconds)


def _ask_build(build: Path, request: _Request) -> _Answer:
    from cortex_compile.launchers.embedded import EmbeddedServer
    from cortex_compile.python_backend.manifest import check_build

    manifest = check_build(build)
    click.echo(f"Starting Triton with {build} …", err=True)
    server = EmbeddedServer([build], http_port=0, grpc_port=0, metrics_port=0)
    try:
        return _ask_triton(server.start().grpc, manifest.name, request)
    finally:
        server.stop()


def _ask_triton(address: str, model: str, request: _Request) -> _Answer:
    import asyncio

    from cortex_compile.facade.service import context_of
    from cortex_compile.facade.triton_client import TritonCallError, TritonPredictorClient

    async def ask() -> _Answer:
        client = TritonPredictorClient(address, len(request.body))
        context = context_of(request.query.encode(), [(b"content-type", request.content_type.encode())])
        try:
            started = time.perf_counter()
            answer = await client.predict(model, request.body, context, _TIMEOUT_S)
            seconds = time.perf_counter() - started
        except TritonCallError as error:
            raise ServiceError(f"Triton gave no answer for {model!r} ({error})") from error
        finally:
            await client.close()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        return _Answer(answer.status_code, headers, answer.body, seconds)

    return asyncio.run(ask())


def _show(answer: _Answer) -> None:
    text = _text_of(answer)
    if text is not None:
        if "json" in answer.content_type():
            with contextlib.suppress(ValueError):  # of what is not JSON, against its type: shown as it came
                text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        click.echo(text, nl=not text.endswith("\n"))
    elif sys.stdout.isatty():
        kind = answer.content_type() or "no content type"
        click.echo(f"{len(answer.body)} bytes ({kind}); write them to a file with `> FILE`", err=True)
    else:
        sys.stdout.buffer.write(answer.body)


def _as_json(answer: _Answer) -> str:
    text = _text_of(answer)
    value: dict[str, Any] = {"status_code": answer.status_code, "headers": answer.headers}
    if text is None:
        value["body_base64"] = base64.b64encode(answer.body).decode()
    else:
        value["body"] = text
        if "json" in answer.content_type():
            with contextlib.suppress(ValueError):  # the text, then
                value["body"] = json.loads(text, parse_constant=_refuse)
    value["seconds"] = round(answer.seconds, 6)
    return json.dumps(value, indent=2, ensure_ascii=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON, though Python writes it")


def _text_of(answer: _Answer) -> str | None:
    """The body as text, unless it is bytes that the answer does not call text."""
    content_type = answer.content_type()
    if content_type and not content_type.startswith("text/") and "json" not in content_type:
        return None
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return None


def _status_line(status_code: int) -> str:
    try:
        return f"{status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        return str(status_code)
