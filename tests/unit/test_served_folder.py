"""What runs of a build stays what it was, whatever happens to the build, and changes nothing of it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.errors import BuildError, LaunchError
from cortex_compile.launchers.adapt_models import SampleRequest, adapt_models, set_warm_up
from cortex_compile.launchers.served_folder import ServedFolder, folders_beside
from cortex_compile.python_backend.manifest import check_build

from ..triton.tiny_build import python_model, write_build, write_model


@pytest.fixture
def build(tmp_path: Path) -> Path:
    config = python_model("api")
    write_model(tmp_path / "builds" / "api" / "model_repository", config, {"model.py": "first"})
    return write_build(tmp_path / "builds" / "api", "api")


def test_a_build_that_is_replaced_does_not_change_what_runs(build: Path) -> None:
    folder = ServedFolder(build)
    shown = folder.repository / "api" / "1" / "model.py"
    assert os.stat(shown).st_ino == os.stat(build / "model_repository" / "api" / "1" / "model.py").st_ino
    shutil.rmtree(build)
    assert shown.read_text() == "first"
    folder.remove()
    assert list(build.parent.iterdir()) == []


def test_what_is_taken_is_adapted_and_the_build_stays_as_it_was(build: Path) -> None:
    folder = ServedFolder(build)
    copy = folder.take(build)
    adapt_models(copy)
    set_warm_up(copy, [SampleRequest("a", b"payload", b"context", 200)])
    check_build(build)
    check_build(copy.build)
    config = text_format.Parse((copy.models["api"] / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (config.name, config.backend) == ("", "python")
    (warm_up,) = config.model_warmup
    given = warm_up.inputs["payload"]
    assert (list(given.dims), (copy.models["api"] / "warmup" / given.input_data_file).read_bytes()) == ([7], b"payload")
    set_warm_up(copy, [])
    config = text_format.Parse((copy.models["api"] / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert list(config.model_warmup) == []
    assert folder.current.number == 1
    folder.show("api", copy.models["api"])
    assert (folder.repository / "api").resolve() == copy.models["api"]
    folder.remove()


def test_a_damaged_build_is_named_by_its_own_path(build: Path) -> None:
    folder = ServedFolder(build)
    other = build.parent / "other"
    shutil.copytree(build, other)
    (other / "model_repository" / "api" / "1" / "model.py").write_text("changed")
    with pytest.raises(BuildError, match=rf"^{other}/model_repository/api/1/model.py: was changed"):
        folder.take(other)
    assert sorted(each.name for each in folder.root.iterdir()) == ["1", "lock", "models"]
    folder.remove()


def test_where_files_cannot_be_linked_nothing_is_left(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(LaunchError, match="nothing can be linked"):
        folders_beside([build])
    assert [each.name for each in build.parent.iterdir()] == ["api"]


def test_what_a_killed_launcher_has_left_is_removed_and_what_runs_is_not(build: Path) -> None:
    killed = ServedFolder(build)
    assert killed._lock is not None
    killed._lock.close()
    running = ServedFolder(build)
    other = ServedFolder(build)
    assert not killed.root.exists()
    assert running.root.exists()
    running.remove()
    other.remove()
