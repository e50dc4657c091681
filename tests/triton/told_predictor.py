"""A predictor's model by hand: follows the contract with clients, and misbehaves when its query string says so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2

from cortex_compile.python_backend.manifest import read_manifest, write_manifest

from .tiny_build import write_build, write_model

MODEL = """
import ctypes
import json
import os
import threading
import time
from urllib.parse import parse_qsl

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.cancelled = 0

    def execute(self, requests):
        for request in requests:
            inputs = {tensor.name(): bytes(np.from_dlpack(tensor)) for tensor in request.inputs()}
            threading.Thread(target=self.answer, args=(request.get_response_sender(), inputs), daemon=True).start()

    def answer(self, sender, inputs):
        context = json.loads(inputs["context"])
        # The question whether it answers at all has none.
        told = dict(parse_qsl(context.get("query_string", ""), keep_blank_values=True))
        headers = [["content-type", "application/json"], *json.loads(told.get("headers", "[]"))]
        status = {"status_code": int(told.get("status", 200)), "headers": headers}
        if "timing" in told:
            status["timing"] = json.loads(told["timing"])
        status = json.dumps(status).encode()
        seen = {"context": context, "size": len(inputs["payload"]), "cancelled": self.cancelled}
        body = inputs["payload"] if "echo" in told else json.dumps(seen).encode()
        if "sleep" in told:
            self.sleep(float(told["sleep"]), sender)
        if "die" in told:
            os._exit(3)
        if "garbage" in told:
            status = b"{}"
        error = None
        if "error" in told:
            error = pb_utils.TritonError("a secret of the server's", getattr(pb_utils.TritonError, told["error"]))
        outputs = [] if error else [self.tensor("response", body), self.tensor("status", status)]
        response = pb_utils.InferenceResponse(outputs, error)
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def sleep(self, seconds, sender):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if sender.is_cancelled():
                self.cancelled += 1
                return
            time.sleep(0.01)

    def tensor(self, name, data):
        array = np.array(np.frombuffer(data, np.uint8))
        capsule = array.__dlpack__()
        forget = ctypes.pythonapi.PyCapsule_SetDestructor
        forget.argtypes = (ctypes.py_object, ctypes.c_void_p)
        forget(capsule, None)
        return pb_utils.Tensor.from_dlpack(name, capsule)
"""


def told_build(folder: Path, name: str, sample: tuple[str, str] | None = None, endpoint: str | None = None) -> Path:
    """A build of such a predictor; ``sample`` is the name, with its query, and the text of its first sample."""
    vector: dict[str, Any] = {"data_type": "TYPE_UINT8", "dims": [-1]}
    config = model_config_pb2.ModelConfig(
        name=name,
        backend="python",
        input=[
            model_config_pb2.ModelInput(name="payload", **vector),
            model_config_pb2.ModelInput(name="context", optional=True, **vector),
        ],
        output=[
            model_config_pb2.ModelOutput(name="response", **vector),
            model_config_pb2.ModelOutput(name="status", **vector),
        ],
        instance_group=[model_config_pb2.ModelInstanceGroup(count=1, kind="KIND_CPU")],
    )
    write_model(folder / "model_repository", config, {"model.py": MODEL})
    if sample is not None:
        project = folder / "model_repository" / name / "1" / "project"
        project.mkdir()
        (project / sample[0].partition("?")[0]).write_text(sample[1])
        (folder / "report.json").write_text(json.dumps({"samples": [{"name": sample[0]}]}))
    write_build(folder, name)
    if endpoint is not None:
        manifest = dataclasses.replace(read_manifest(folder / "manifest.json"), endpoint=endpoint)
        write_manifest(manifest, folder / "manifest.json")
        write_manifest(manifest, folder / "model_repository" / name / "1" / "manifest.json")
    return folder
