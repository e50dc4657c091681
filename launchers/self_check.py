"""Show that the embedded server runs here: start it with a model that answers what it was asked, and ask."""

from __future__ import annotations

import http.client
import json
import tempfile
from pathlib import Path

from cortex_compile.errors import ServiceError
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Manifest, sha256_of, write_manifest

_NAME = "self-check"

_CONFIG = """
backend: "python"
input [ { name: "x" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_INT64 dims: [ -1 ] } ]
"""

# numpy, because an interpreter that does not fit the environment fails on its compiled modules first.
_MODEL = """
import numpy
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([self.echo(request)]) for request in requests]

    def echo(self, request):
        return pb_utils.Tensor.from_dlpack("y", pb_utils.get_input_tensor_by_name(request, "x"))
"""


def check_that_the_server_runs(timeout_s: float = 60.0) -> None:
    """
    Raises:
        LaunchError: the server does not start.
        ServiceError: it does not answer as it should.
    """
    with tempfile.TemporaryDirectory(prefix="cortex-compile-") as folder:
        server = EmbeddedServer([_write_build(Path(folder))], http_port=0, grpc_port=0, metrics_port=0)
        address = server.start(timeout_s).http
        try:
            found = _ask(address, [1, 2, 3], timeout_s)
        finally:
            server.stop()
    if found != [1, 2, 3]:
        raise ServiceError(f"The embedded server answered {found!r} to a model's request, expected [1, 2, 3].")


def _write_build(folder: Path) -> Path:
    repository = folder / "model_repository"
    model = repository / _NAME
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(_CONFIG)
    (model / "1" / "model.py").write_text(_MODEL)
    files = (model / "config.pbtxt", model / "1" / "model.py")
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=_NAME,
        endpoint=_NAME,
        predictor="predictor.py",
        config={},
        env={},
        python_path=None,
        log_level="info",
        processes_per_replica=1,
        threads_per_process=1,
        max_replica_concurrency=1,
        requirements=(),
        cores=(),
        compiled_with={},
        files={file.relative_to(repository).as_posix(): sha256_of(file) for file in files},
    )
    write_manifest(manifest, folder / "manifest.json")
    write_manifest(manifest, model / "1" / "manifest.json")
    return folder


def _ask(address: str, numbers: list[int], timeout_s: float) -> object:
    tensor = {"name": "x", "datatype": "INT64", "shape": [len(numbers)], "data": numbers}
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("POST", f"/v2/models/{_NAME}/infer", json.dumps({"inputs": [tensor]}))
        answer = json.load(connection.getresponse())
        return answer["outputs"][0]["data"]
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        raise ServiceError(f"The embedded server did not answer a model's request: {error!r}.") from error
    finally:
        connection.close()
