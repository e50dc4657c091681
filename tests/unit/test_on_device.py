"""Calls whose tensors are on a device, up to the device itself: torch's meta stands in for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from cortex_compile.python_backend import answer, exchange
from cortex_compile.python_backend.answer import answer_error
from cortex_compile.python_backend.calls import dump_spec, flatten
from cortex_compile.python_backend.compiled_forward import CallCounts, ReadyVariant, make_compiled_forward
from cortex_compile.python_backend.errors import CoreOverloaded
from cortex_compile.python_backend.flatten_call import flatten_arguments
from cortex_compile.python_backend.manifest import Core, Dimension, Leaf, TensorSpec, Variant

IDS = torch.arange(6.0).reshape(2, 3)


class Session:
    """Doubles what it is given, of any kind."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def run(self, inputs: Any) -> list[Any]:
        self.asked.append(inputs)
        return [inputs[0] * 2]


def forward_on(devices: set[str], session: Session, counts: CallCounts) -> Any:
    call, result = flatten_arguments((IDS,), {}), flatten(IDS)
    variant = Variant(
        "v", dump_spec(call.spec), call.leaves, dump_spec(result.spec), (Leaf(tensor=0),),
        (TensorSpec("ids", "float32", ("batch", 3)),), (TensorSpec("y", "float32", ("batch", 3)),),
        (Dimension("batch", 1, 8),), "batch", "model",
    )  # fmt: skip
    ready = ReadyVariant(variant, session)
    return make_compiled_forward("predictor.m", lambda ids: "eager", [ready], [], counts, frozenset(devices))


def test_tensors_on_a_device_go_to_the_core_as_they_are_and_its_results_stay_there() -> None:
    session, counts = Session(), CallCounts()
    found = forward_on({"cpu", "meta"}, session, counts)(IDS.to("meta").t().contiguous().t())
    assert (found.device.type, found.shape) == ("meta", (2, 3))
    (asked,) = session.asked
    assert isinstance(asked[0], torch.Tensor)
    assert asked[0].is_contiguous()
    assert (counts.compiled, counts.eager) == (1, {})


def test_on_the_cpu_the_same_core_gets_arrays() -> None:
    session = Session()
    found = forward_on({"cpu", "meta"}, session, CallCounts())(IDS)
    assert torch.equal(found, IDS * 2)
    assert type(session.asked[0][0]).__name__ == "ndarray"


def test_a_core_that_is_for_the_cpu_leaves_other_devices_to_the_module() -> None:
    session, counts = Session(), CallCounts()
    assert forward_on({"cpu"}, session, counts)(IDS.to("meta")) == "eager"
    assert (session.asked, counts.eager) == ([], {"other device": 1})


def test_a_core_of_a_module_on_a_gpu_is_used_where_it_runs_on_gpus_too() -> None:
    core = Core("m", "predictor.m", "M", "", "", (), "onnxruntime", "local", 1, None, (), ())
    assert exchange.devices_of(core) == {"cpu"}
    assert exchange.devices_of(Core(**{**vars(core), "placement": "remote"})) == {"cpu", "cuda"}
    assert exchange.devices_of(Core(**{**vars(core), "engine": "tensorrt"})) == {"cpu", "cuda"}
    assert exchange.device_type_of(torch.nn.Linear(2, 2)) == "cpu"
    assert exchange.device_type_of(torch.nn.Linear(2, 2, device="meta")) == "meta"
    assert exchange.device_type_of(torch.nn.Tanh()) == "cpu"


def test_the_embedded_servers_backend_runs_where_its_instance_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("triton_python_backend_utils"))
    file = Path(exchange.__file__).parents[1] / "backends" / "onnxruntime" / "triton" / "model.py"
    source = file.read_text().replace("_tensors = _load_tensors()", "_tensors = None")
    backend = ModuleType("backend_of_triton")
    exec(compile(source, str(file), "exec"), backend.__dict__)
    instance = {"model_instance_kind": "CPU", "model_instance_device_id": "0"}
    assert backend._provider_of(instance) == ("CPUExecutionProvider", {})
    name, options = backend._provider_of({"model_instance_kind": "GPU", "model_instance_device_id": "2"})
    assert (name, options["device_id"], options["use_tf32"]) == ("CUDAExecutionProvider", "2", "0")
    with pytest.raises(ValueError, match="kind 'MODEL'"):
        backend._provider_of({**instance, "model_instance_kind": "MODEL"})
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="installed without CUDA"):
        backend._open_session(Path("none.onnx"), {}, (name, options))


class Overloaded(Session):
    def run(self, inputs: Any) -> list[Any]:
        raise CoreOverloaded("full", 503)


def test_too_many_calls_for_a_core_are_no_reason_to_run_them_all_beside_each_other() -> None:
    counts = CallCounts()
    forward = forward_on({"cpu"}, Overloaded(), counts)

    def predict() -> Any:
        try:
            return forward(IDS)
        except Exception:
            return "an answer that the predictor made up"

    with pytest.raises(CoreOverloaded):
        predict()
    assert (counts.eager, counts.failing) == ({}, 0)


@pytest.mark.parametrize(("status", "retry"), [(503, True), (504, False)])
def test_the_client_is_told_to_come_again_or_that_it_is_too_late(status: int, retry: bool) -> None:
    told = answer_error(CoreOverloaded("model 'api--m': full", status))
    assert (told.status_code, told.error) == (status, None)
    assert b"api--m" not in told.body
    assert (("retry-after", "1") in told.headers) is retry
    assert issubclass(CoreOverloaded, answer.RAISED)
