"""`cortex-compile predict`: one sample, one answer."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cortex_compile.cli.client_key import api_key_option, key_headers
from cortex_compile.cli.load import Shot
from cortex_compile.content_types import content_type_of, split_query
from cortex_compile.errors import ServiceError, UsageError

if TYPE_CHECKING:
    import httpx

    from cortex_compile.facade.triton_client import PredictorAnswer
    from cortex_compile.python_backend.manifest import Manifest

__all__ = ["predict", "read_shot"]

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class _Answer:
    status_code: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float
    printed: bool = False
    """It came in chunks, and each was printed when it came."""

    def content_type(self) -> str:
        return _content_type(self.headers)


# Print the chunks of an answer with this content type, or None: keep them.
ChoosePrinter = Callable[[str], "Callable[[bytes], None] | None"]


@click.command(short_help="Send a sample to a build or to a URL.")
@click.argument("target", metavar="BUILD|URL")
@click.argument("sample", metavar="SAMPLE[?QUERY]")
@click.option("--json", "as_json", is_flag=True, help="Print status, headers, body and seconds as one JSON object.")
@api_key_option
def predict(target: str, sample: str, as_json: bool, api_key_file: Path | None) -> None:
    """Send a sample to a build or to a URL.

    The file's extension gives the content type. A build is started on the embedded server, asked and stopped. What the
    predictor streams is printed as it comes.
    """
    request = read_shot(sample)
    choose_printer = _print_nothing if as_json else _choose_printer
    if target.startswith(("http://", "https://")):
        answer = _ask_url(target, request, key_headers(api_key_file), choose_printer)
    elif api_key_file is not None:
        raise UsageError("--api-key-file is for a URL: a build is asked here, and needs no key")
    else:
        answer = _ask_build(Path(target), request, choose_printer)
    if as_json:
        click.echo(_as_json(answer))
    elif not answer.printed:
        _show(answer)
    if answer.status_code >= 400:
        raise ServiceError(f"{target} answered {_status_line(answer.status_code)}")


def read_shot(sample: str) -> Shot:
    """
    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    path, query = split_query(sample)
    try:
        return Shot(Path(path).read_bytes(), content_type_of(path), query)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"the sample {path!r} cannot be read ({reason}); name a file, as in sample.json") from None


def _ask_url(url: str, request: Shot, key: dict[str, str], choose_printer: ChoosePrinter) -> _Answer:
    import httpx

    try:
        address = httpx.URL(url)
        query = "&".join(part for part in (address.query.decode("latin-1"), request.query) if part)
        address = address.copy_with(query=query.encode() or None)
        started = time.perf_counter()
        headers = {"content-type": request.content_type, **key}
        with httpx.stream("POST", address, content=request.body, headers=headers, timeout=_TIMEOUT_S) as response:
            body, printed = _read_body(url, response, choose_printer)
        seconds = time.perf_counter() - started
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is not a URL ({error})") from None
    except httpx.HTTPError as error:
        raise ServiceError(f"{url} cannot be reached ({error}); is `cortex-compile serve` running there?") from None
    return _Answer(response.status_code, response.headers.multi_items(), body, seconds, printed)


def _read_body(url: str, response: httpx.Response, choose_printer: ChoosePrinter) -> tuple[bytes, bool]:
    import httpx

    is_stream = "content-length" not in response.headers
    print_chunk = choose_printer(response.headers.get("content-type", "")) if is_stream else None
    chunks = []
    try:
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            if print_chunk is not None:
                print_chunk(chunk)
    except httpx.HTTPError as error:
        raise ServiceError(f"the answer of {url} broke off ({error}); the server's log says why") from None
    return b"".join(chunks), print_chunk is not None


def _ask_build(build: Path, request: Shot, choose_printer: ChoosePrinter) -> _Answer:
    from cortex_compile.launchers.embedded import EmbeddedServer
    from cortex_compile.python_backend.manifest import check_build

    manifest = check_build(build)
    click.echo(f"Starting Triton with {build} …", err=True)
    server = EmbeddedServer([build], http_port=0, grpc_port=0, metrics_port=0)
    try:
        return _ask_triton(server.start().grpc, manifest, request, choose_printer)
    finally:
        server.stop()


def _ask_triton(address: str, manifest: Manifest, request: Shot, choose_printer: ChoosePrinter) -> _Answer:
    import asyncio

    from cortex_compile.facade.service import context_of
    from cortex_compile.facade.triton_client import TritonCallError, TritonPredictorClient

    async def ask() -> _Answer:
        client = TritonPredictorClient(address, len(request.body))
        context = context_of(request.query.encode(), [(b"content-type", request.content_type.encode())], _TIMEOUT_S)
        try:
            started = time.perf_counter()
            send = client.stream if manifest.streaming else client.predict
            answer = await send(manifest.name, request.body, context, _TIMEOUT_S)
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
            body, printed = await _read_chunks(answer, choose_printer(_content_type(headers)))
            seconds = time.perf_counter() - started
        except TritonCallError as error:
            raise ServiceError(f"Triton gave no whole answer for {manifest.name!r} ({error})") from error
        finally:
            await client.close()
        return _Answer(answer.status_code, headers, body, seconds, printed)

    return asyncio.run(ask())


async def _read_chunks(answer: PredictorAnswer, print_chunk: Callable[[bytes], None] | None) -> tuple[bytes, bool]:
    if answer.rest is None:
        return answer.body, False
    chunks: list[bytes] = []
    chunk: bytes | None = answer.body
    while chunk is not None:
        chunks.append(chunk)
        if print_chunk is not None:
            print_chunk(chunk)
        chunk = await answer.rest.next_chunk()
    return b"".join(chunks), print_chunk is not None


def _choose_printer(content_type: str) -> Callable[[bytes], None] | None:
    return _print_chunk if _is_text(content_type) or not sys.stdout.isatty() else None


def _print_nothing(content_type: str) -> None:
    return None


def _print_chunk(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


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


def _content_type(headers: list[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")


def _is_text(content_type: str) -> bool:
    return not content_type or content_type.startswith("text/") or "json" in content_type


def _text_of(answer: _Answer) -> str | None:
    """The body as text, unless it is bytes that the answer does not call text."""
    if not _is_text(answer.content_type()):
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
