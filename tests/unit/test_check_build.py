"""Builds that were changed on the way, and manifests that no compile wrote: refused by every command, and by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cortex_compile.cli.example_request import samples_of
from cortex_compile.cli.main import main
from cortex_compile.errors import BuildError
from cortex_compile.python_backend.build_files import sha256_of
from cortex_compile.python_backend.manifest import check_build, read_manifest

from ..triton.tiny_build import echo_build

HASH = "0" * 64


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build whose model would leave a trace if it were imported."""
    model = f"open({str(tmp_path / 'imported')!r}, 'w')"
    folder = echo_build(tmp_path / "echo", model=model)
    project = folder / "model_repository" / "echo" / "1" / "project"
    project.mkdir()
    (project / "predictor.py").write_text("x = 1\n")
    change(
        folder,
        lambda value: value["files"].update({"echo/1/project/predictor.py": sha256_of(project / "predictor.py")}),
    )
    check_build(folder)
    return folder


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Write other things into both manifests."""
    value = json.loads((folder / "manifest.json").read_text())
    edit(value)
    for path in (folder / "manifest.json", folder / "model_repository" / "echo" / "1" / "manifest.json"):
        path.write_text(json.dumps(value))


def _other_byte(folder: Path) -> None:
    with (folder / "model_repository" / "echo" / "1" / "model.py").open("a") as file:
        file.write("#")


def _added_model(folder: Path) -> None:
    shutil.copytree(folder / "model_repository" / "echo", folder / "model_repository" / "evil")


def _added_version(folder: Path) -> None:
    shutil.copytree(folder / "model_repository" / "echo" / "1", folder / "model_repository" / "echo" / "2")


def _added_config(folder: Path) -> None:
    (folder / "model_repository" / "echo" / "configs").mkdir()
    (folder / "model_repository" / "echo" / "configs" / "cpu.pbtxt").write_text('backend: "python"')


def _link_out(folder: Path) -> None:
    path = folder / "model_repository" / "echo" / "1" / "model.py"
    shutil.move(path, folder.parent / "model.py")
    path.symlink_to(folder.parent / "model.py")


def _linked_folder(folder: Path) -> None:
    path = folder / "model_repository" / "echo" / "1"
    shutil.move(path, folder.parent / "1")
    path.symlink_to(folder.parent / "1")


def _linked_repository(folder: Path) -> None:
    shutil.move(folder / "model_repository", folder.parent / "repository")
    (folder / "model_repository").symlink_to(folder.parent / "repository")


def _link_beside_the_predictor(folder: Path) -> None:
    (folder / "model_repository" / "echo" / "1" / "project" / "notes").symlink_to("/etc/hostname")


def _linked_cache(folder: Path) -> None:
    (folder.parent / "cache").mkdir()
    (folder / "model_repository" / "echo" / "1" / "__pycache__").symlink_to(folder.parent / "cache")


def _manifest_of_another(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace("1024", "1023"))


TAMPERED = {
    _other_byte: "model.py: was changed after compiling",
    _added_model: "evil.*: is no file of the build, and would be served",
    _added_version: "echo/2.*: is no file of the build",
    _added_config: "cpu.pbtxt: is no file of the build",
    _link_out: "model.py: a link leads out of the build",
    _linked_folder: "a link leads out of the build",
    _linked_repository: "model_repository: is a link",
    _link_beside_the_predictor: "notes: a link leads out of the build",
    _linked_cache: "__pycache__: a link leads out of the build",
    _manifest_of_another: "is not the manifest that the build was written with",
}


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda tamper: tamper.__name__[1:])
def test_what_was_changed_is_named(build: Path, tamper: Callable[[Path], None]) -> None:
    tamper(build)
    with pytest.raises(BuildError, match=TAMPERED[tamper]):
        check_build(build)


def test_what_a_run_leaves_is_no_change(build: Path) -> None:
    version = build / "model_repository" / "echo" / "1"
    for folder in (version / "__pycache__", version / "_runtime" / "__pycache__"):
        folder.mkdir(parents=True)
        (folder / "model.cpython-311.pyc").write_bytes(b"x")
    (version / "project" / "downloads").mkdir()
    (version / "project" / "downloads" / "weights.bin").write_bytes(b"x")
    (version / "project" / "latest").symlink_to("downloads")
    check_build(build)
    # A build itself may be reached by a link, and may lie anywhere.
    linked = build.parent / "linked"
    linked.symlink_to(build)
    check_build(linked)


@pytest.mark.parametrize("tamper", [_other_byte, _added_model, _link_out])
@pytest.mark.parametrize(
    "words",
    [["serve", "BUILD", "--port", "0"], ["predict", "BUILD", "SAMPLE"], ["inspect", "BUILD"], ["bench", "BUILD"],
     ["package", "BUILD"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_every_command_looks_before_it_imports(
    build: Path, tamper: Callable[[Path], None], words: list[str], tmp_path: Path
) -> None:
    tamper(build)
    sample = tmp_path / "sample.json"
    sample.write_text("1")
    given = [{"BUILD": str(build), "SAMPLE": str(sample)}.get(word, word) for word in words]
    ended = CliRunner().invoke(main, given, standalone_mode=False)
    assert isinstance(ended.exception, BuildError), ended.exception
    assert not (tmp_path / "imported").exists()


HOSTILE = [
    ({"name": "../../etc"}, "name: expected the name of an API"),
    ({"name": "/etc"}, "name: expected"),
    ({"name": ""}, "name: expected"),
    ({"name": "a\0b"}, "name: expected"),
    ({"name": "a" * 10_000}, "name: expected"),
    ({"name": "a\n"}, "name: expected"),
    ({"endpoint": "/a b"}, "endpoint: expected a path"),
    ({"endpoint": "/a\r\nx: y"}, "endpoint: expected a path"),
    ({"predictor": "/etc/passwd"}, "predictor: expected a path inside the project"),
    ({"predictor": "a/../../predictor.py"}, "predictor: expected a path inside"),
    ({"python_path": "../../../home"}, "python_path: expected a path inside"),
    ({"env": {"A=B": "1"}}, r"env\['A=B'\]: expected an environment variable"),
    ({"env": {"A": "\0"}}, r"env\['A'\]: expected an environment variable"),
    ({"files": {"../../../etc/passwd": HASH}}, "files: expected the path of a file in the model repository"),
    ({"files": {"/etc/passwd": HASH}}, "files: expected"),
    ({"files": {"echo/../../../x": HASH}}, "files: expected"),
    ({"files": {"echo//x": HASH}}, "files: expected"),
    ({"files": {"other/1/model.py": HASH}}, "files: expected"),
    ({"files": {"echo/1/x": "no hash"}}, r"files\['echo/1/x'\]: expected a sha256"),
    ({"processes_per_replica": 10**30}, "processes_per_replica: expected a number from 1"),
    ({"processes_per_replica": -1}, "processes_per_replica: expected a number"),
    ({"max_body_bytes": 2**40}, "max_body_bytes: expected a number"),
    ({"request_timeout_s": float("nan")}, "request_timeout_s: expected a number of seconds"),
    ({"request_timeout_s": float("inf")}, "request_timeout_s: expected a number of seconds"),
    ({"request_timeout_s": 10**400}, "request_timeout_s: expected a number that a float holds"),
    ({"request_timeout_s": True}, "request_timeout_s: expected float"),
    ({"threads_per_process": 1.5}, "threads_per_process: expected int"),
    ({"cores": {"0": {}}}, "cores: expected a list"),
    ({"cores": [1]}, r"cores\[0\]: expected an object"),
    ({"requirements": "numpy"}, "requirements: expected a list"),
    ({"config": [1]}, "config: expected an object"),
    ({"surprise": 1}, "'surprise' is not a field of Manifest"),
    ({"version": 10**100}, "version 1000.*, this release reads version 1"),
    ({"version": [[]]}, "version .*, this release reads"),
]


@pytest.mark.parametrize(("fields", "words"), HOSTILE)
def test_a_manifest_that_no_compile_wrote(build: Path, fields: dict[str, Any], words: str) -> None:
    change(build, lambda value: value.update(fields))
    with pytest.raises(BuildError, match=words) as caught:
        check_build(build)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


CORE = {
    "name": "model", "path": "model", "class_name": "a.B", "structure_sha256": HASH, "weights_sha256": HASH,
    "attributes": [], "engine": "onnxruntime", "placement": "local", "threads": 1, "weights_file": None,
    "parameters": [], "variants": [],
}  # fmt: skip
VARIANT = {
    "name": "first", "arguments": "", "argument_leaves": [], "result": "", "result_leaves": [], "inputs": [],
    "outputs": [], "dimensions": [], "batch_dimension": None, "graph": "cores/model/first.onnx",
}  # fmt: skip


@pytest.mark.parametrize(
    ("core", "variant", "words"),
    [
        ({"name": "../x"}, {}, r"cores\[0\].name: expected letters"),
        ({"engine": "os.system('x')"}, {}, r"cores\[0\].engine: expected letters"),
        ({"weights_file": "/etc/passwd"}, {}, r"cores\[0\].weights_file: expected a path inside"),
        ({}, {"graph": "../../../x.onnx"}, r"cores\[0\].variants\[0\].graph: expected a path inside"),
        ({"placement": "remote"}, {"graph": "another-api"}, r"graph: expected the name of a model, 'echo--…'"),
        ({"placement": "remote"}, {"graph": "echo--../x"}, r"graph: expected the name of a model"),
        ({"placement": "elsewhere"}, {}, r"cores\[0\].placement: expected one of"),
    ],
)
def test_a_core_that_no_compile_wrote(build: Path, core: dict[str, Any], variant: dict[str, Any], words: str) -> None:
    change(build, lambda value: value.update(cores=[{**CORE, "variants": [VARIANT]}]))
    check_build(build)
    change(build, lambda value: value.update(cores=[{**CORE, **core, "variants": [{**VARIANT, **variant}]}]))
    with pytest.raises(BuildError, match=words):
        check_build(build)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", "\0", "[" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000,
     '{"version": ' + "9" * 5000 + "}",
     '{"version": 1, "config": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}"],
    ids=range(9),
)  # fmt: skip
def test_what_is_hardly_json(build: Path, text: str) -> None:
    (build / "manifest.json").write_text(text)
    with pytest.raises(BuildError, match=r"manifest\.json: "):
        read_manifest(build / "manifest.json")


def test_what_is_no_text_and_no_file(build: Path) -> None:
    (build / "manifest.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(BuildError, match="cannot be read"):
        check_build(build)
    (build / "manifest.json").unlink()
    (build / "manifest.json").mkdir()
    with pytest.raises(BuildError, match="cannot be read"):
        check_build(build)


def test_a_report_shows_no_file_from_elsewhere(build: Path, tmp_path: Path) -> None:
    """Nothing vouches for report.json, and what it names is on the documentation page."""
    project = build / "model_repository" / "echo" / "1" / "project"
    (tmp_path / "secret.json").write_text('"secret"')
    outside = os.path.relpath(tmp_path / "secret.json", project)
    names = [outside, str(tmp_path / "secret.json"), "predictor.py"]
    (build / "report.json").write_text(json.dumps({"samples": [{"name": name} for name in names]}))
    assert [sample.path for sample in samples_of(build, "echo")] == [project / "predictor.py"]
    (build / "report.json").write_text("[" * 100_000)
    assert samples_of(build, "echo") == []
