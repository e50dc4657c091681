"""`cortex-compile predictor.py` as a process: what goes wrong is one line and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cortex_compile.compiler.report import read_report
from cortex_compile.python_backend.manifest import check_build

COMMAND = [sys.executable, "-m", "cortex_compile"]
DEEP = Path(__file__).parents[1] / "predictors" / "deep"

GOOD = """
class PythonPredictor:
    def __init__(self, config): pass
    def predict(self, payload): return payload
"""
CLASS = "class PythonPredictor:\n"
INIT = "    def __init__(self, config): pass\n"
PREDICT = "    def predict(self, payload): return payload\n"


def compile_here(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CORTEX_COMPILE_CACHE": str(folder / ".cache")}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, timeout=110
    )


@pytest.mark.parametrize(
    ("source", "where", "words"),
    [
        ("class PythonPredictor\n", "predictor.py:1: ", "SyntaxError"),
        ("import nowhere_to_be_found\n", "predictor.py:1: ", "No module named 'nowhere_to_be_found'"),
        ("x = 1\n", "predictor.py:1: ", "PythonPredictor class is not defined"),
        (CLASS + INIT + "    def predict(self, payload, request): return 1\n", "predictor.py:3: ", '"request"'),
        (CLASS + "    def __init__(self, config): raise KeyError('m')\n" + PREDICT, "predictor.py:2: ", "KeyError"),
        (CLASS + INIT + "    def predict(self, payload): return payload['y']\n", "predictor.py:3: ", "sample.json"),
        (CLASS + INIT + "    def predict(self, payload): return {1, 2}\n", "predictor.py:3: ", "set"),
        (
            "import os\n" + CLASS + INIT + "    def predict(self, payload): os._exit(7)\n",
            "predictor.py: ",
            "exit code 7",
        ),
    ],
)
def test_a_fault_of_the_predictor_is_one_line(tmp_path: Path, source: str, where: str, words: str) -> None:
    (tmp_path / "predictor.py").write_text(source)
    (tmp_path / "sample.json").write_text('{"x": 1}')
    ended = compile_here(tmp_path, "predictor.py")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert where in error
    assert words in error
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.py"], 2, "nowhere.py"),
        (["predictor.py", "--engine", "onnxrutime"], 2, "did you mean 'onnxruntime'"),
        (["predictor.py", "--precision", "int8", "--engine", "eager"], 2, "none of the engines (eager)"),
        (["predictor.py", "--device", "cuda"], 2, "device 'cuda': no"),
        (["predictor.py", "--output", "predictor.py"], 1, "predictor.py"),
        (["predictor.py", "--output", "notes"], 1, "notes"),
        (["predictor.py", "--output", "/proc/build"], 1, "/proc/build"),
        (["predictor.py", "--sample", "broken.json"], 1, "broken.json:1:7"),
        (["predictor.py", "--sample", "absent.json"], 1, "absent.json"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "predictor.py").write_text(GOOD)
    (tmp_path / "sample.json").write_text('{"x": 1}')
    (tmp_path / "broken.json").write_text('{"x": }')
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("not a build")
    before = sorted(tmp_path.rglob("*"))
    ended = compile_here(tmp_path, *arguments)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert words in ended.stderr.splitlines()[-1]
    assert sorted(path for path in tmp_path.rglob("*") if ".cache" not in path.parts) == before


def test_no_sample_says_what_to_add_and_no_compile_serves_it_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "predictor.py").write_text(GOOD)
    ended = compile_here(tmp_path, "predictor.py")
    assert ended.returncode == 1
    assert "sample.json" in ended.stderr
    assert "--no-compile" in ended.stderr
    ended = compile_here(tmp_path, "predictor.py", "--no-compile", "--output", "out")
    assert ended.returncode == 0, ended.stderr
    assert check_build(tmp_path / "out").cores == ()


@pytest.mark.parametrize(
    ("source", "where", "words"),
    [
        (CLASS + INIT + "    def predict(self, payload, request): return 1\n", "predictor.py:3: ", '"request"'),
        ("import nowhere_to_be_found\n" + GOOD, "predictor.py:1: ", "No module named 'nowhere_to_be_found'"),
        ("import os\nos._exit(7)\n" + GOOD, "predictor.py: ", "exit code 7"),
    ],
)
def test_what_breaks_the_contract_is_said_though_nothing_is_compiled(
    tmp_path: Path, source: str, where: str, words: str
) -> None:
    (tmp_path / "predictor.py").write_text(source)
    ended = compile_here(tmp_path, "predictor.py", "--no-compile")
    assert ended.returncode == 1
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert where in error
    assert words in error
    assert not (tmp_path / "build").exists()


def test_a_predictor_is_compiled_proven_and_written(tmp_path: Path) -> None:
    project = shutil.copytree(DEEP, tmp_path / "deep")
    ended = compile_here(tmp_path, project / "predictor.py")
    assert ended.returncode == 0, ended.stderr
    build = tmp_path / "build" / "deep"
    manifest = check_build(build)
    assert [(core.path, core.engine, core.placement) for core in manifest.cores] == [
        ("predictor.net", "onnxruntime", "local")
    ]
    report = read_report(build)
    assert all(sample.answers_equal for sample in report.samples)
    assert {sample.name for sample in report.samples} == {"sample-one.json", "sample-three.json"}
    assert report.modules[0].called_from == "predictor.py:26"
    assert "compiled" in ended.stdout
    assert sorted(path.name for path in build.parent.iterdir()) == ["deep"]

    again = compile_here(tmp_path, project / "predictor.py")
    assert again.returncode == 0, again.stderr
    assert "unchanged since it was compiled" in again.stdout
    elsewhere = compile_here(tmp_path, project / "predictor.py", "--output", "elsewhere")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "unchanged since an earlier compile" in elsewhere.stderr
    (project / "predictor.py").write_text((project / "predictor.py").read_text().replace("+ 0.1", "+ 0.2"))
    changed = compile_here(tmp_path, project / "predictor.py")
    assert changed.returncode == 0, changed.stderr
    assert "unchanged" not in changed.stderr


@pytest.mark.parametrize(
    ("predict", "option", "streaming"),
    [
        ("return (part for part in payload)", None, True),
        ("yield from payload", "--no-compile", True),
        ("return (part for part in payload)", "--no-compile", False),
        ("return payload", None, False),
    ],
)
def test_a_predictor_that_streams_is_found_out(
    tmp_path: Path, predict: str, option: str | None, streaming: bool
) -> None:
    (tmp_path / "predictor.py").write_text(f"{CLASS}{INIT}    def predict(self, payload): {predict}\n")
    (tmp_path / "sample.json").write_text('["a", "b"]')
    ended = compile_here(tmp_path, "predictor.py", "--name", "s", *([option] if option else []))
    assert ended.returncode == 0, ended.stderr
    assert check_build(tmp_path / "build" / "s").streaming is streaming
    config = (tmp_path / "build" / "s" / "model_repository" / "s" / "config.pbtxt").read_text()
    assert ("decoupled: true" in config) is streaming
    report = read_report(tmp_path / "build" / "s")
    assert any("streamed" in notice for notice in report.notices) is streaming
    # Without a compiled module there is no other way that could be faster.
    assert all((sample.speedup, sample.compiled_p50_ms) == (1.0, sample.eager_p50_ms) for sample in report.samples)


READS_OUTSIDE = """
from pathlib import Path
class PythonPredictor:
    def __init__(self, config):
        self.names = (Path(__file__).parents[1] / "data" / "names.txt").read_text()
    def predict(self, payload): return self.names
"""


def _change_build(folder: Path) -> None:
    with (folder / "out" / "model_repository" / "mine" / "1" / "project" / "predictor.py").open("a") as file:
        file.write("# mine")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "data" / "names.txt").write_text("new names"),
        lambda folder: (folder / "data" / "beside.bin").write_text("new weights"),
        lambda folder: (folder / "data" / "beside.bin").unlink(),
        lambda folder: (folder / "mine" / "labels.txt").write_text("a file more"),
        lambda folder: (folder / "mine" / "sample.json").write_text("[2]"),
        _change_build,
    ],
)
def test_a_build_is_unchanged_only_while_all_it_rests_on_is(tmp_path: Path, change: Callable[[Path], object]) -> None:
    for name in ("mine", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "names.txt").write_text("names")
    (tmp_path / "data" / "beside.bin").write_text("weights")
    (tmp_path / "mine" / "predictor.py").write_text(READS_OUTSIDE)
    (tmp_path / "mine" / "sample.json").write_text("[1]")
    command = ("mine/predictor.py", "--output", "out")
    said = [compile_here(tmp_path, *command).stdout for _ in range(2)]
    change(tmp_path)
    said += [compile_here(tmp_path, *command).stdout for _ in range(2)]
    assert ["unchanged" in each for each in said] == [False, True, False, True]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    ended = compile_here(tmp_path, DEEP / "predictor.py", "--dry-run", "--only", "predictor.other")
    assert ended.returncode == 0, ended.stderr
    assert "only predictor.other was asked for" in ended.stdout
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("pauses_s", [(0.0,), (0.002, 0.002, 0.002, 0.0)], ids=["once", "by somebody in a hurry"])
def test_an_old_build_is_whole_after_an_interruption(tmp_path: Path, pauses_s: tuple[float, ...]) -> None:
    (tmp_path / "predictor.py").write_text(GOOD)
    (tmp_path / "sample.json").write_text('{"x": 1}')
    assert compile_here(tmp_path, "predictor.py", "--output", "out").returncode == 0
    before = (tmp_path / "out" / "manifest.json").read_text()
    (tmp_path / "predictor.py").write_text("import time\n" + GOOD.replace("return payload", "time.sleep(60)"))
    process = subprocess.Popen(
        [*COMMAND, "predictor.py", "--output", "out"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "answer 1 samples" in line:
            break
    assert len(_processes_that_name(tmp_path / ".out")) == 1  # the child with the predictor in it
    for pause_s in pauses_s:
        process.send_signal(signal.SIGINT)
        time.sleep(pause_s)
    # A last Ctrl-C may come when all is done and Python itself is ending: then the signal is what ended it.
    assert process.wait(timeout=20) in (130, -signal.SIGINT)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert (tmp_path / "out" / "manifest.json").read_text() == before
    check_build(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []
    assert _processes_that_name(tmp_path / ".out") == []


def _processes_that_name(path: Path) -> list[str]:
    """Those with an argument that begins so, whoever their parent is."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"\0{path}" in (entry / "cmdline").read_text():
                found.append(entry.name)
    return found


def test_a_crash_of_an_engine_is_a_refused_candidate(tmp_path: Path) -> None:
    """An exporter that takes the process down costs its candidate, and the build is made without it."""
    project = shutil.copytree(DEEP, tmp_path / "deep")
    source = (project / "predictor.py").read_text()
    # The graph's export runs forward with fake tensors; a real crash there ends the process.
    crash = "        if type(x).__name__ != 'Tensor':\n            import os\n\n            os.abort()\n"
    (project / "predictor.py").write_text(source.replace("        for layer", crash + "        for layer"))
    ended = compile_here(tmp_path, project / "predictor.py", "--output", "out", "--tune")
    assert ended.returncode == 0, ended.stderr
    assert "nothing for --tune to choose" in ended.stderr
    (module,) = read_report(tmp_path / "out").modules
    assert module.engine == "eager"
    (attempt,) = module.signatures[0].attempts
    assert attempt.refused_at == "export"
    assert "SIGABRT" in attempt.reason
    assert "--only" in attempt.reproduce
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["cores"] == []


def test_a_refused_module_is_opened_and_its_parts_are_compiled(tmp_path: Path) -> None:
    ended = compile_here(tmp_path, DEEP.with_name("opened") / "predictor.py", "--output", "out")
    assert ended.returncode == 0, ended.stderr
    modules = {module.path: module for module in read_report(tmp_path / "out").modules}
    assert "cannot be exported" in modules["predictor.net"].decision
    assert modules["predictor.net.happy"].engine == "onnxruntime"
    assert modules["predictor.net.sad"].engine == "onnxruntime"
    assert "predictor.net.gain" not in modules  # one layer is not worth the way through a graph
