"""A build served in another way is a whole build again, with the same graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.compiler.earlier_build import keep_remembering, remember_build
from cortex_compile.compiler.plain_build import write_plain_build
from cortex_compile.compiler.reconfigure_build import configuration_of, reconfigure_build
from cortex_compile.compiler.tune_record import Configuration
from cortex_compile.python_backend.manifest import Dispatch, check_build, sha256_of

from .test_write_build import build, run_graph

REMOTE = Configuration("remote", 3, 2, "passed turn", 8, core_instances=2, max_batch=4)


def config_of(folder: Path, model: str) -> Any:
    text = (folder / "model_repository" / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_a_local_build_becomes_remote_and_local_again(tmp_path: Path) -> None:
    folder, manifest = build(tmp_path, "local")
    reconfigure_build(folder, tmp_path / "remote", REMOTE)
    remote = check_build(tmp_path / "remote")
    assert configuration_of(remote) == REMOTE
    assert config_of(tmp_path / "remote", "iris").instance_group[0].count == 3
    for model in ("iris--model", "iris--model--second"):
        config = config_of(tmp_path / "remote", model)
        assert (config.instance_group[0].count, config.max_batch_size) == (2, 4)
        assert config.parameters["intra_op_thread_count"].string_value == "2"
        run_graph(tmp_path / "remote" / "model_repository" / model / "1" / "model.onnx")
    assert (remote.cores[0].weights_file, remote.tuning) == (manifest.cores[0].weights_file, manifest.tuning)

    again = configuration_of(manifest)
    reconfigure_build(tmp_path / "remote", tmp_path / "local", again)
    local = check_build(tmp_path / "local")
    assert local == manifest
    for variant in local.cores[0].variants:
        run_graph(tmp_path / "local" / "model_repository" / "iris" / "1" / variant.graph)


def test_what_is_shared_and_side_by_side_is_what_was_asked(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, "local")
    way = Configuration("local", 1, 2, "passed turn", 32, shared_rows=8, side_by_side=True)
    assert configuration_of(reconfigure_build(folder, tmp_path / "beside", way)) == way
    found = check_build(tmp_path / "beside").dispatch
    assert found == Dispatch("passed turn", 32, "it is not proven yet", 8, side_by_side=True)


def test_the_project_is_a_copy_and_the_rest_is_of_this_release(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, "remote")
    version = Path("model_repository") / "iris" / "1"
    (folder / version / "_runtime" / "model.py").unlink()  # as of an older release, of other files
    (folder / version / "project" / "written.txt").write_text("by the predictor, at serving")
    reconfigure_build(folder, tmp_path / "other", REMOTE)
    check_build(tmp_path / "other")
    assert (tmp_path / "other" / version / "_runtime" / "model.py").is_file()
    assert not (tmp_path / "other" / version / "project" / "written.txt").exists()
    predictor = Path(version) / "project" / "predictor.py"
    assert not (folder / predictor).samefile(tmp_path / "other" / predictor)
    graph = Path("model_repository") / "iris--model" / "1" / "model.onnx"
    assert (folder / graph).samefile(tmp_path / "other" / graph)


def test_a_plain_build_has_no_cores(tmp_path: Path) -> None:
    folder, _ = build(tmp_path, "remote")
    write_plain_build(folder, tmp_path / "plain")
    plain = check_build(tmp_path / "plain")
    assert plain.cores == ()
    assert [path.name for path in (tmp_path / "plain" / "model_repository").iterdir()] == ["iris"]


def test_a_tuned_build_rests_on_the_same_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEX_COMPILE_CACHE", str(tmp_path / "cache"))
    folder, _ = build(tmp_path, "local")
    before = sha256_of(folder / "manifest.json")
    remember_build(folder, "what it rests on", {})

    def remembered() -> Any:
        (place,) = (tmp_path / "cache" / "builds").iterdir()
        return json.loads(place.read_text())

    (folder / "manifest.json").write_text("tuned")
    keep_remembering(folder, "another manifest")
    assert remembered()["manifest_sha256"] == before
    keep_remembering(folder, before)
    assert remembered()["manifest_sha256"] == sha256_of(folder / "manifest.json")
    assert remembered()["inputs_sha256"] == "what it rests on"
