"""Streams, batches and models that change: what takes several requests, or an answer in pieces, to show."""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

from .live import TIMEOUT_S, Live, Received
from .scenarios import wait_until

__all__ = [
    "a_batch_is_one_call",
    "a_client_that_leaves_ends_the_generator",
    "a_lone_request_is_a_batch_too",
    "a_malformed_request_is_in_no_batch",
    "a_new_version_is_found_without_a_failed_request",
    "a_stream_that_nothing_showed_is_sent_whole",
    "chunks_of_a_generator_come_as_they_are_made",
    "chunks_of_a_response_come_as_they_are_made",
    "every_answer_tells_its_times",
    "results_may_have_a_status_of_their_own",
    "too_late",
    "wrong_results_are_an_answer_to_each",
]


def chunks_of_a_generator_come_as_they_are_made(live: Live) -> None:
    status, content_type = _first_chunk_before_the_second(live, "/generator")
    assert (status, content_type) == (200, "text/plain; charset=utf-8")


def chunks_of_a_response_come_as_they_are_made(live: Live, path: str) -> None:
    assert _first_chunk_before_the_second(live, path) == (206, "video/mp4")


def a_stream_that_nothing_showed_is_sent_whole(live: Live) -> None:
    for _ in range(2):
        answer = live.ask("POST", "/stream-unseen", b"{}")
        assert (answer.status, answer.body) == (206, b"one two")
        assert (answer.header("content-type"), answer.header("content-length")) == ("video/mp4", "7")
    wait_until(lambda: "compile.streaming: true" in live.log.read_text())
    told = [line for line in live.log.read_text().splitlines() if "compile.streaming: true" in line]
    assert ["stream-unseen" in line for line in told] == [True]


def _first_chunk_before_the_second(live: Live, path: str) -> tuple[int, str]:
    wait_for = live.folder / uuid4().hex
    try:
        with live.http.stream("POST", path, json={"wait_for": str(wait_for)}) as answer:
            found = answer.iter_raw()
            assert next(found) == b"one "
            wait_for.touch()
            assert b"".join(found) == b"two"
            assert answer.headers["transfer-encoding"] == "chunked"
            return answer.status_code, answer.headers["content-type"]
    finally:
        wait_for.touch()


def a_client_that_leaves_ends_the_generator(live: Live) -> None:
    ended = live.folder / uuid4().hex
    body = json.dumps({"for_ever": True, "ended": str(ended)}).encode()
    with socket.create_connection(("127.0.0.1", live.port), timeout=TIMEOUT_S) as client:
        head = b"POST /generator HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert client.recv(1)
        assert not ended.exists()
    wait_until(ended.exists)


def every_answer_tells_its_times(live: Live) -> None:
    answer = live.ask("POST", "/echo", b"0")
    names = re.findall(r"(\w+);dur=\d+\.\d+", answer.header("server-timing") or "")
    assert names == ["queue", "prepost", "core", "total"]
    assert "total;dur=" in (live.ask("GET", "/healthz").header("server-timing") or "")


def too_late(live: Live) -> None:
    arrived, wait_for = (live.folder / uuid4().hex for _ in range(2))
    body = json.dumps({"arrived": str(arrived), "wait_for": str(wait_for)}).encode()
    try:
        answer = live.ask("POST", "/limited", body)
    finally:
        wait_for.touch()
    assert (answer.status, json.loads(answer.body)) == (504, {"error": "the model did not answer in time"})
    assert live.ask("POST", "/limited", b"0").status == 200


def a_batch_is_one_call(live: Live) -> None:
    answers = [json.loads(answer.body) for answer in _ask_at_once(live, 1, 2, 3, 4)]
    assert [answer["item"] for answer in answers] == [1, 2, 3, 4]
    assert {answer["of"] for answer in answers} == {4}
    assert all(answer["kinds"] == ["list"] * 4 for answer in answers)


def a_lone_request_is_a_batch_too(live: Live) -> None:
    (answer,) = _ask_at_once(live, "alone")
    assert json.loads(answer.body)["of"] == 1


def a_malformed_request_is_in_no_batch(live: Live) -> None:
    malformed, *others = _ask_at_once(live, b"{", 1, 2, 3)
    assert malformed.status == 400
    assert [(answer.status, json.loads(answer.body)["item"]) for answer in others] == [(200, 1), (200, 2), (200, 3)]


def results_may_have_a_status_of_their_own(live: Live) -> None:
    assert [answer.status for answer in _ask_at_once(live, "refuse", 1, 2, 3)] == [422, 200, 200, 200]


def wrong_results_are_an_answer_to_each(live: Live, word: str) -> None:
    answers = _ask_at_once(live, word, 1, 2, 3)
    assert [(answer.status, answer.body) for answer in answers] == [(500, b"internal server error")] * 4


def _ask_at_once(live: Live, *payloads: object) -> list[Received]:
    bodies = [payload if isinstance(payload, bytes) else json.dumps(payload).encode() for payload in payloads]
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(partial(live.ask, "POST", "/batched"), bodies))


def a_new_version_is_found_without_a_failed_request(live: Live) -> None:
    """Each request is answered by the version before it or by the new one, until that is the latest for all."""

    def ask(body: bytes = b"null") -> str:
        answer = live.ask("POST", "/models?model=rose", body)
        assert answer.status == 200, answer
        text: str = json.loads(answer.body)["text"]
        assert text in ("rose one", "rose nine")
        return text

    assert ask() == "rose one"
    ask(b'{"model": "rose", "version": 9, "text": "rose nine"}')
    wait_until(lambda: ask() == "rose nine")
