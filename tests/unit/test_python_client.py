"""python_client over real folders: names, versions, reloading, what stays in memory."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.python_backend import python_client
from cortex_compile.python_backend.manifest import ModelsSpec
from cortex_compile.python_backend.model_folders import SINGLE_MODEL_NAME
from cortex_compile.python_backend.python_client import PythonClient, UserRuntimeException

PATIENCE_S = 20.0


class Models:
    """A folder of models whose file says what they answer; "bad" is one that does not load."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.loaded: list[str] = []
        self.before_load: Callable[[str], None] = lambda place: None

    def write(self, place: str, text: str) -> None:
        path = self.project / place / "model.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(text)
        if path.stat().st_mtime_ns <= before:  # the clock of file systems is coarse
            os.utime(path, ns=(before + 10**6, before + 10**6))

    def load(self, model_path: str) -> dict[str, str]:
        place = Path(model_path).relative_to(self.project).as_posix()
        self.before_load(place)
        self.loaded.append(place)
        text = (Path(model_path) / "model.txt").read_text()
        if text == "bad":
            raise ValueError("not a model")
        return {"text": text}

    def client(self, **spec: Any) -> PythonClient:
        client = PythonClient(self.project, ModelsSpec(**spec))
        client.set_load_method(self.load)
        return client


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setattr(python_client, "_LOOK_AGAIN_S", 0.0)
    return Models(tmp_path)


def test_one_model_without_versions(models: Models) -> None:
    models.write("net", "a")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    assert models.loaded == [], "a model is loaded when it is asked for"
    for arguments in ((), ("any",), ("any", "1"), (None, "latest")):
        assert client.get_model(*arguments) == {"text": "a"}
    assert models.loaded == ["net"]
    assert client.describe() == {
        SINGLE_MODEL_NAME: {"versions": ["1"], "timestamps": [int((models.project / "net/model.txt").stat().st_mtime)]}
    }


def test_the_latest_version_is_the_highest_number(models: Models) -> None:
    for version in ("2", "10", "9"):
        models.write(f"net/{version}", version)
    models.write("net/notes", "not a version")
    (models.project / "net" / "11").mkdir()  # nothing is in it yet
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    assert client.get_model() == {"text": "10"}
    assert client.get_model(model_version="2") == {"text": "2"}
    assert client.get_model(model_version=9) == {"text": "9"}
    assert client.describe()[SINGLE_MODEL_NAME]["versions"] == ["2", "9", "10"]


@pytest.mark.parametrize(
    ("spec", "arguments", "message"),
    [
        ({"folders": {"a": "net", "b": "net"}}, (), "model_name was not specified, choose one of the following: ['a',"),
        ({"folders": {"a": "net", "b": "net"}}, ("c",), "'c' model wasn't found in the list of available models"),
        ({"folders": {"a": "net", "b": "net"}}, ("a", "3"), "model a of version 3 wasn't found"),
        ({"folders": {"a": "net", "b": "net"}}, ("a", "v1"), "model_version must be either a parse-able numeric value"),
        ({"folders": {SINGLE_MODEL_NAME: "net"}}, (None, "2"), "model _cortex_default of version 2 wasn't found"),
        ({"folders": {SINGLE_MODEL_NAME: "gone"}}, (), "'_cortex_default' model's versions have been removed; add"),
        ({"directory": "all"}, (), "model_name was not specified"),
        ({"directory": "all"}, ("c",), "'c' model wasn't found in the list of available models"),
        ({"directory": "all"}, ("../net",), "'../net' model wasn't found in the list of available models"),
        ({"directory": "all"}, ("",), "'' model wasn't found in the list of available models"),
        ({"directory": "all"}, ("..",), "'..' model wasn't found in the list of available models"),
        ({"directory": "all"}, ("b/1",), "'b/1' model wasn't found in the list of available models"),
        ({"directory": "all"}, ("b\0",), "'b\0' model wasn't found in the list of available models"),
        ({"directory": "all"}, (".hidden",), "'.hidden' model wasn't found in the list of available models"),
        ({"directory": "nowhere"}, ("c",), "'c' model wasn't found in the list of available models"),
    ],
)
def test_what_is_not_there(models: Models, spec: dict[str, Any], arguments: tuple[Any, ...], message: str) -> None:
    models.write("net", "a")
    models.write("all/b/1", "b")
    models.write("all/.hidden/1", "b")
    with pytest.raises(UserRuntimeException) as caught:
        models.client(**spec).get_model(*arguments)
    assert str(caught.value).startswith(message)
    assert models.loaded == []


def test_models_and_versions_that_come_and_go(models: Models) -> None:
    models.write("all/b/1", "b1")
    client = models.client(directory="all")
    assert client.get_model("b") == {"text": "b1"}
    models.write("all/b/2", "b2")
    models.write("all/c", "c1")
    assert [client.get_model("b"), client.get_model("c")] == [{"text": "b2"}, {"text": "c1"}]
    assert list(client.models) == ["b/2", "c/1"], "what was only ever the latest is not kept when it is not"
    shutil.rmtree(models.project / "all/b/2")
    assert client.get_model("b") == {"text": "b1"}
    assert list(client.models) == ["c/1", "b/1"]


def test_files_that_change_are_loaded_again(models: Models) -> None:
    models.write("net/1", "old")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    first = client.get_model()
    models.write("net/1", "new")
    assert client.get_model() == {"text": "new"}
    assert first == {"text": "old"}, "who works with the old one keeps it"


def test_a_version_that_was_asked_for_stays_beside_a_newer_one(models: Models) -> None:
    models.write("net/1", "1")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    one = client.get_model(model_version="1")
    models.write("net/2", "2")
    assert client.get_model() == {"text": "2"}
    assert client.get_model(model_version="1") is one


def test_the_older_version_serves_while_the_newer_does_not_load(
    models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.write("net/1", "1")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    one = client.get_model()
    models.write("net/2", "bad")
    for _ in range(3):
        assert client.get_model() is one
    assert models.loaded == ["net/1", "net/2"], "it is tried once, not at each request"
    assert "loading model _cortex_default of version 2 failed" in caplog.text
    assert "ValueError: not a model" in caplog.text
    with pytest.raises(UserRuntimeException, match="loading model _cortex_default of version 2: not a model") as caught:
        client.get_model(model_version="2")
    assert isinstance(caught.value.__cause__, ValueError)
    models.write("net/2", "2")
    assert client.get_model() == {"text": "2"}
    models.write("net/2", "bad")
    for _ in range(2):
        assert client.get_model() == {"text": "2"}, "the same version, as it was loaded before"


def test_the_newest_that_loads_when_nothing_is_loaded_yet(models: Models) -> None:
    for version, text in (("1", "1"), ("2", "2"), ("3", "bad")):
        models.write(f"net/{version}", text)
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    assert [client.get_model(), client.get_model()] == [{"text": "2"}, {"text": "2"}]
    assert models.loaded == ["net/3", "net/2"]


def test_a_model_that_never_loads_is_tried_at_each_request(models: Models) -> None:
    models.write("net", "bad")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    for _ in range(2):
        with pytest.raises(UserRuntimeException, match="not a model"):
            client.get_model()
    assert models.loaded == ["net", "net"]


def test_the_least_recently_used_leaves_memory(models: Models) -> None:
    for name in "abc":
        models.write(f"all/{name}", name)
    client = models.client(directory="all", cache_size=2)
    in_memory_at_load = []
    models.before_load = lambda place: in_memory_at_load.append(list(client.models))
    for name in "abac":
        assert client.get_model(name) == {"text": name}
    assert list(client.models) == ["a/1", "c/1"]
    assert in_memory_at_load == [[], ["a/1"], ["a/1"]], "the place is made before the load, not after"
    assert client.get_model("b") == {"text": "b"}
    assert models.loaded == ["all/a", "all/b", "all/c", "all/b"]
    assert list(client.models) == ["c/1", "b/1"]


def test_versions_are_models_of_their_own_to_the_cache(models: Models) -> None:
    for version in "123":
        models.write(f"net/{version}", version)
    client = models.client(folders={SINGLE_MODEL_NAME: "net"}, cache_size=2)
    for version in "123":
        client.get_model(model_version=version)
    assert list(client.models) == ["_cortex_default/2", "_cortex_default/3"]


def test_a_new_version_takes_the_place_of_the_old_one_only_when_it_is_loaded(models: Models) -> None:
    models.write("all/a/1", "a1")
    client = models.client(directory="all", cache_size=1)
    client.get_model("a")
    models.write("all/a/2", "bad")
    assert client.get_model("a") == {"text": "a1"}
    models.write("all/a/3", "a3")
    assert client.get_model("a") == {"text": "a3"}
    assert list(client.models) == ["a/3"]
    assert models.loaded == ["all/a/1", "all/a/2", "all/a/3"]


def test_the_others_are_not_held_up_while_one_loads(models: Models) -> None:
    models.write("all/a/1", "a1")
    models.write("all/b/1", "b1")
    client = models.client(directory="all")
    old = client.get_model("a")
    models.write("all/a/2", "a2")
    begun, go_on = threading.Event(), threading.Event()

    def hold_back(place: str) -> None:
        if place == "all/a/2":
            begun.set()
            assert go_on.wait(PATIENCE_S)

    models.before_load = hold_back
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(client.get_model, "a")
        try:
            assert begun.wait(PATIENCE_S)
            assert client.get_model("a") is old
            assert client.get_model("b") == {"text": "b1"}
        finally:
            go_on.set()
        assert loading.result(PATIENCE_S) == {"text": "a2"}
    assert client.get_model("a") == {"text": "a2"}


def test_a_model_is_loaded_once_by_however_many_threads(models: Models) -> None:
    models.write("net", "a")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    together = threading.Barrier(8)

    def get(_: int) -> Any:
        together.wait(PATIENCE_S)
        return client.get_model()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get, range(8)))
    assert models.loaded == ["net"]
    assert all(model is found[0] for model in found)


def test_the_disk_is_looked_at_once_a_second_at_most(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_client, "_LOOK_AGAIN_S", 600.0)
    models.write("net/1", "1")
    client = models.client(folders={SINGLE_MODEL_NAME: "net"})
    client.get_model()
    models.write("net/2", "2")
    assert client.get_model() == {"text": "1"}
    assert client.describe()[SINGLE_MODEL_NAME]["versions"] == ["1", "2"]
