"""Streams, batches, models of ``load_model``, and limits of time and size."""

from __future__ import annotations

from functools import partial

from . import later_scenarios as scenario
from .table import Answer, Ask, Row

__all__ = ["ROWS"]

_STREAM, _BATCH = "Streaming", "`server_side_batching`"
_MODELS, _LIMITS = "`python_client` and `load_model`", "Times and limits of an API"
_FAILED = Answer(500, body=b"internal server error")

ROWS = (
    Row(
        _STREAM,
        "a `StreamingResponse`",
        "in chunks",
        "",
        (partial(scenario.chunks_of_a_response_come_as_they_are_made, path="/stream"),),
    ),
    Row(
        _STREAM,
        "a `StreamingResponse` that another module makes",
        "in chunks",
        "in chunks if a sample showed it or `compile.streaming: true` says it; else whole, and the log tells",
        (
            *(
                partial(scenario.chunks_of_a_response_come_as_they_are_made, path=path)
                for path in ("/stream-watched", "/stream-said")
            ),
            scenario.a_stream_that_nothing_showed_is_sent_whole,
        ),
        "different",
    ),
    Row(
        _STREAM,
        "a `predict` that is a generator",
        "500: a generator is not JSON",
        "in chunks, each sent as it is made",
        (scenario.chunks_of_a_generator_come_as_they_are_made,),
        "better",
    ),
    Row(
        _STREAM,
        "a client that leaves",
        "not tried",
        "ends the generator",
        (scenario.a_client_that_leaves_ends_the_generator,),
        "better",
    ),
    Row(
        _BATCH,
        "requests that come together are one call; every argument is a list, one result each in their order",
        "so",
        "",
        (scenario.a_batch_is_one_call,),
    ),
    Row(_BATCH, "a request that stays alone", "a batch of one", "", (scenario.a_lone_request_is_a_batch_too,)),
    Row(_BATCH, "a malformed request", "400, in no batch", "", (scenario.a_malformed_request_is_in_no_batch,)),
    Row(
        _BATCH,
        "a result that is a `Response`",
        "its own status",
        "",
        (scenario.results_may_have_a_status_of_their_own,),
    ),
    Row(
        _BATCH,
        "a list shorter than the batch",
        "the requests without a result waited for ever",
        "500 for each of the batch",
        (partial(scenario.wrong_results_are_an_answer_to_each, word="short"),),
        "better",
    ),
    Row(
        _BATCH,
        "an exception, or no list",
        "500 for each, with the exception's text",
        "500 for each, the text in the log",
        tuple(partial(scenario.wrong_results_are_an_answer_to_each, word=word) for word in ("exception", "no list")),
        "better",
    ),
    Row(
        _MODELS,
        "`get_model(name, version)` gives what `load_model` made; `latest` is the highest number",
        "so",
        "",
        (
            Ask("models", Answer(json={"text": "tulip two"}), b"null", query="model=tulip"),
            Ask("models", Answer(json={"text": "tulip one"}), b"null", query="model=tulip&version=1"),
        ),
    ),
    Row(
        _MODELS,
        "a model or version that there is not",
        "an exception in `predict`: 500",
        "",
        (
            Ask("models", _FAILED, b"null", query="model=daisy"),
            Ask("models", _FAILED, b"null", query="model=tulip&version=7"),
        ),
    ),
    Row(
        _MODELS,
        "a version that appears",
        "found within ten seconds, loaded by the next request",
        "found within a second; no request fails meanwhile",
        (scenario.a_new_version_is_found_without_a_failed_request,),
        "better",
    ),
    Row(
        _MODELS,
        "`GET` of an API with models",
        "`model_metadata` beside the message",
        "",
        (
            Ask(
                "models",
                Answer(200, matches=r'\{"message": .*, "model_metadata": \{.*"tulip": \{"versions": \["1", "2"\].*'),
                method="GET",
            ),
        ),
    ),
    Row(
        _LIMITS,
        "a body over `compile.max_body_bytes`",
        "no limit of its own",
        "413 while it is read",
        (
            Ask("limited", Answer(200, body=b"answered"), b"0" + b" " * 999),
            Ask("limited", Answer(413, json={"error": "the request body is larger than 1000 bytes"}), b" " * 1001),
            Ask(
                "limited",
                Answer(413, json={"error": "the request body is larger than 1000 bytes"}),
                raw=b"POST /limited HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b" " * 1001,
            ),
        ),
        "better",
    ),
    Row(
        _LIMITS,
        "no answer within `compile.request_timeout`",
        "an hour, by nginx",
        "504; the next request is answered",
        (scenario.too_late,),
        "better",
    ),
    Row(
        _LIMITS,
        "a body that does not arrive",
        "waited for",
        "408 after `compile.request_timeout`",
        (
            Ask(
                "limited",
                Answer(408, json={"error": "the request body did not arrive within 1 s"}),
                raw=b"POST /limited HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
            ),
        ),
        "better",
    ),
    Row(
        _LIMITS,
        "where the time of a request went",
        "in no header",
        "`server-timing`: queue, the predictor's Python, compiled models, total",
        (scenario.every_answer_tells_its_times,),
        "better",
    ),
    Row(
        _LIMITS,
        'NaN and infinity with `compile.nan: "null"`',
        "`NaN`, which is no JSON",
        "`null`",
        (
            Ask("answers-null", Answer(200, body=b'{"scores": [0.5, null]}'), b'"nan"'),
            Ask("answers-null", Answer(200, body=b'{"scores": [0.5, null]}'), b'"np nan"'),
        ),
        "better",
    ),
)
