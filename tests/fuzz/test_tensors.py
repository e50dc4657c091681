"""Whatever tensors a client of Triton's own ports sends to the predictor's model: an answer or an error, no crash."""

from __future__ import annotations

import http.client
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from .conftest import FuzzedTriton
from .examples import examples

pytestmark = pytest.mark.triton

TIMEOUT_S = 30.0

# What a request alone may lead to; the others are those of a server that is gone, or that waits for ever.
EXPECTED_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
}
_NAMES = st.sampled_from(["payload", "context", "_sizes", "other", "", "payload\0"])
_TYPES = st.sampled_from(["UINT8", "INT64", "INT8", "BOOL", "FP32", "FP64", "BYTES", "BF16", "", "NOPE"])
_SIZES = st.sampled_from([0, 1, 2, 3, 64, 65, -1, -2, 2**31, 2**32 + 1, 2**62, 2**63 - 1, -(2**63)]) | st.integers(0, 9)
_SHAPES = st.lists(_SIZES, max_size=4)
_CONTEXTS = st.one_of(
    st.binary(max_size=20),
    st.dictionaries(
        st.sampled_from(["content_type", "query_string", "headers", "timeout_s", "method", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("GET"),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 5000, b'{"timeout_s": 1e400}', b'{"timeout_s": ' + b"9" * 400 + b"}"]),
)


@dataclass(frozen=True)
class FuzzedTensor:
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | None


def _bytes_tensor(name: str, data: bytes) -> FuzzedTensor:
    return FuzzedTensor(name, "UINT8", (len(data),), data)


def _sizes_tensor(rows: list[list[int]]) -> FuzzedTensor:
    numbers = [number for row in rows for number in row]
    shape = (len(rows), len(rows[0]) if rows else 0)
    return FuzzedTensor("_sizes", "INT64", shape, struct.pack(f"<{len(numbers)}q", *numbers))


_SOME_TENSORS = st.builds(FuzzedTensor, _NAMES, _TYPES, _SHAPES.map(tuple), st.none() | st.binary(max_size=40))


@st.composite
def tensors(draw: st.DrawFn) -> list[FuzzedTensor]:
    """What the contract says, perhaps with some of it replaced, left out, or sent twice."""
    payload = draw(st.binary(max_size=40) | st.sampled_from([b"1", b'"a"', b"[1, 2]"]))
    context = draw(_CONTEXTS)
    found = [_bytes_tensor("payload", payload), _bytes_tensor("context", context)]
    if draw(st.booleans()):
        rows = st.lists(st.lists(_SIZES, min_size=2, max_size=2), min_size=2, max_size=2)
        whole = [[len(payload)], [len(context)]]
        found.append(_sizes_tensor(draw(st.just(whole) | rows)))
    for _ in range(draw(st.integers(0, 2))):
        other = draw(_SOME_TENSORS)
        place = draw(st.integers(0, len(found)))
        found[place : place + draw(st.integers(0, 1))] = [other]
    return found


_REQUESTED = st.lists(st.sampled_from(["response", "status", "_sizes", "other", ""]), max_size=4)
_PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["sequence_id", "sequence_start", "priority", "timeout", "binary_data_output", "classification", "x",
         "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"]
    ),
    st.integers(-(2**62), 2**62) | st.booleans() | st.text(max_size=5),
    max_size=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def stub(triton: FuzzedTriton) -> Iterator[Any]:
    with grpc.insecure_channel(triton.endpoints.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)


def _message(sent: list[FuzzedTensor], requested: list[str], parameters: dict[str, Any]) -> Any:
    message = service_pb2.ModelInferRequest(model_name="fuzz")
    for tensor in sent:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if tensor.data is not None:
            message.raw_input_contents.append(tensor.data)
    for name in requested:
        message.outputs.add(name=name)
    for name, value in parameters.items():
        kind = "bool_param" if isinstance(value, bool) else "int64_param" if isinstance(value, int) else "string_param"
        setattr(message.parameters[name], kind, value)
    return message


def _check_alive(stub: Any) -> None:
    answer = stub.ModelInfer(_message([_bytes_tensor("payload", b"1")], [], {}), timeout=TIMEOUT_S)
    by_name = dict(zip([output.name for output in answer.outputs], answer.raw_output_contents, strict=True))
    assert json.loads(by_name["status"])["status_code"] == 200


def _check_status(status: bytes) -> None:
    """Of a call with one prediction; those of several stand one after the other."""
    code = json.JSONDecoder().raw_decode(status.decode())[0]["status_code"]
    assert code in (200, 400, 404, 503, 504), status  # the last: a timeout_s that is over, and a GET without models


@examples(0.15)
@given(tensors(), _REQUESTED, _PARAMETERS)
@example([_bytes_tensor("payload", b"1"), _sizes_tensor([[2**62, 2**62], [0, 0]])], [], {})
@example([_bytes_tensor("payload", b"11"), _sizes_tensor([[3, -1], [0, 0]])], [], {})
@example([_bytes_tensor("payload", b"1"), FuzzedTensor("_sizes", "INT64", (2, 0), b"")], [], {})
@example([_bytes_tensor("payload", b"1" * 65), _sizes_tensor([[1] * 65, [0] * 65])], [], {})
@example([FuzzedTensor("payload", "UINT8", (2**62,), b"1")], [], {})
@example([FuzzedTensor("payload", "INT64", (1,), b"12345678")], [], {})
@example([], [], {})
def test_tensors_over_grpc(
    stub: Any, sent: list[FuzzedTensor], requested: list[str], parameters: dict[str, Any]
) -> None:
    problem = None
    try:
        answer = stub.ModelInfer(_message(sent, requested, parameters), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        problem = error
    if problem is not None:
        assert problem.code() in EXPECTED_CODES, problem
    else:
        outputs = dict(zip([output.name for output in answer.outputs], answer.raw_output_contents, strict=True))
        if outputs.get("status"):
            _check_status(outputs["status"])
    _check_alive(stub)


# Triton 2.51 ends when it cannot allocate what JSON declares: docs/security.md. Over gRPC it compares sizes first.
_ALLOCATED = 2**24


def _can_be_allocated(shape: list[int]) -> bool:
    return abs(math.prod(shape)) <= _ALLOCATED


_JSON_TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": _NAMES,
        "datatype": _TYPES,
        "shape": _SHAPES.filter(_can_be_allocated) | st.just("x"),
        "data": st.lists(st.integers(-1, 300) | st.text(max_size=3) | st.none(), max_size=5),
        "parameters": st.dictionaries(st.just("binary_data_size"), _SIZES, max_size=1) | _PARAMETERS,
    },
)


@examples(0.1)
@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(_JSON_TENSORS, max_size=3)}, optional={"outputs": st.just([{"name": "x"}])}
    )
    | st.dictionaries(st.text(max_size=4), st.integers()),
    st.binary(max_size=30),
    st.none() | st.integers(-2, 200) | st.just("length"),
)
def test_tensors_over_http(triton: FuzzedTriton, document: dict[str, Any], tail: bytes, length: Any) -> None:
    text = json.dumps(document).encode()
    headers = (
        {} if length is None else {"inference-header-content-length": str(len(text) if length == "length" else length)}
    )
    host, _, port = triton.endpoints.http.partition(":")
    client = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    try:
        for sent, expected in ((text + tail, None), (b"1", 200)):
            if expected:
                one = [{"name": "payload", "datatype": "UINT8", "shape": [1], "data": [49]}]
                sent, headers = json.dumps({"inputs": one}).encode(), {}
            client.request("POST", "/v2/models/fuzz/infer", sent, headers)
            answer = client.getresponse()
            answer.read()
            assert answer.status in ((expected,) if expected else (200, 400, 404, 500)), answer.status
    finally:
        client.close()
