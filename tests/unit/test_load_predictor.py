from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cortex_compile.errors import PredictorError
from cortex_compile.python_backend.answer import answer
from cortex_compile.python_backend.load_predictor import create_predictor, enter_project, load_predictor_class
from cortex_compile.python_backend.manifest import ModelsSpec
from cortex_compile.python_backend.model_folders import SINGLE_MODEL_NAME
from cortex_compile.python_backend.python_client import PythonClient
from cortex_compile.python_backend.request import Request

pytestmark = pytest.mark.usefixtures("process_as_before")

GOOD_INIT = "def __init__(self, config): pass"
GOOD_PREDICT = "def predict(self, payload): pass"
START = "class PythonPredictor: "


def write_class(folder: Path, *methods: str) -> Path:
    body = "\n".join(textwrap.indent(method, "    ") for method in methods)
    path = folder / "predictor.py"
    path.write_text(f"import functools\n\n\nclass PythonPredictor:\n{body}\n    attribute = 1\n")
    return path


def test_predictor_lives_in_its_own_project(predictors: Path, tmp_path: Path) -> None:
    for name in ("compiler.py", "backends.py"):
        (tmp_path / name).write_text('WHOSE = "somebody else"\n')
    sys.path.insert(0, str(tmp_path))
    project = predictors / "own_modules"
    config = {"model": {"name": "iris"}}
    enter_project(project, "extra", {"TINY_WORD": "hello"})
    loaded = load_predictor_class(project, "predictor.py", "extra")
    predictor = create_predictor(loaded, config)
    assert loaded.init_arguments == ("config", "job_spec", "metrics_client")
    assert loaded.predict_arguments == ()
    assert answer(predictor, loaded, Request(b"not even JSON")).body == (
        b'{"labels": ["setosa", "versicolor"], "compiler": "the user", "backends": "the user", '
        b'"python_path": "the user", "env": "hello", '
        b'"config": {"model": {"name": "iris"}, "changed": true}, "job_spec": null}'
    )
    assert config == {"model": {"name": "iris"}}, "the predictor changed our copy of its config"


ASK_FOR_THREADS = """
import os, sys
os.sched_getaffinity = lambda pid: set(range(8))
from pathlib import Path
from cortex_compile.python_backend.load_predictor import enter_project
{before}
enter_project(Path({project!r}), None, {env}, processes={processes})
import torch
print(torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.mark.parametrize(
    ("processes", "before", "env", "said"),
    [
        (3, "", {}, "2 2"),
        (3, "import torch", {}, "2 2"),
        (16, "", {}, "1 1"),
        (3, "", {"OMP_NUM_THREADS": "1"}, "1 1"),
        (1, "import torch; torch.set_num_threads(5)", {}, "5 None"),
    ],
)
def test_processes_share_the_processors_unless_the_author_says_otherwise(
    tmp_path: Path, processes: int, before: str, env: dict[str, str], said: str
) -> None:
    program = ASK_FOR_THREADS.format(before=before, project=str(tmp_path), env=env, processes=processes)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


def test_file_of_any_name_whose_classes_can_be_pickled(predictors: Path) -> None:
    loaded = load_predictor_class(predictors / "odd_file", "batch-predictor.py")
    assert loaded.predict_arguments == ("payload",)
    assert answer(create_predictor(loaded, {}), loaded, Request(b"3")).body == b"3"
    assert "class PythonPredictor(Base)" in inspect.getsource(loaded.cls)


def test_decorated_and_keyword_only_arguments_are_seen(predictors: Path) -> None:
    loaded = load_predictor_class(predictors / "injected", "predictor.py")
    assert loaded.init_arguments == ("config", "metrics_client")
    assert loaded.predict_arguments == ("payload", "query_params", "headers", "batch_id")
    assert loaded.post_predict_arguments == ("response", "payload")


@pytest.mark.parametrize(
    ("methods", "line", "message"),
    [
        ([GOOD_INIT], 4, 'required method "predict" is not defined'),
        ([GOOD_INIT, "predict = 3"], 4, '"predict" is defined, but is not a method'),
        (
            ["def __init__(self): pass", GOOD_PREDICT],
            5,
            'invalid signature for method "__init__(self)": "config" is a required argument, but was not provided',
        ),
        (
            [GOOD_PREDICT],
            4,
            'invalid signature for method "__init__(self)": "config" is a required argument, but was not provided',
        ),
        (
            [GOOD_INIT, "\ndef predict(self, payload, request=None): pass"],
            7,
            'invalid signature for method "predict(self, payload, request)": "request" is not a supported argument',
        ),
        (
            [GOOD_INIT, "def predict(payload, self): pass"],
            6,
            'invalid signature for method "predict(payload, self)": "self" must be the first argument',
        ),
        (
            [GOOD_INIT, "@staticmethod\ndef predict(payload): pass"],
            6,
            'invalid signature for method "predict(payload)": "self" is a required argument, but was not provided',
        ),
        (
            [GOOD_INIT, "def predict(*args, **kwargs): pass"],
            6,
            'invalid signature for method "predict()": "self" is a required argument, but was not provided'
            " (a decorator hides it: use functools.wraps)",
        ),
        (
            [GOOD_INIT, "def predict(self, payload, /): pass"],
            6,
            'invalid signature for method "predict(self, payload)": "payload" is given by name',
        ),
        # Cortex looks at the optional methods first.
        (
            ["def load_model(self): pass"],
            5,
            'invalid signature for method "load_model(self)": "model_path" is a required argument',
        ),
        (
            ["def post_predict(self, result): pass"],
            5,
            'invalid signature for method "post_predict(self, result)": "result" is not a supported argument',
        ),
        # __init__ before predict.
        (
            ["def __init__(self): pass", "def predict(self, request): pass"],
            5,
            'invalid signature for method "__init__(self)"',
        ),
    ],
)
def test_wrong_contract(tmp_path: Path, methods: list[str], line: int, message: str) -> None:
    path = write_class(tmp_path, *methods)
    with pytest.raises(PredictorError) as caught:
        load_predictor_class(tmp_path, "predictor.py")
    assert str(caught.value).startswith(f"{path}:{line}: {START}{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("predict", ["def predict(self, payload=None, **rest): pass", "def predict(self): pass"])
def test_accepted_signatures(tmp_path: Path, predict: str) -> None:
    write_class(tmp_path, GOOD_INIT, predict)
    assert load_predictor_class(tmp_path, "predictor.py").predict_arguments in [("payload",), ()]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\ndef f(:\n", "FILE:2: SyntaxError: "),
        ("import json\nimport no_such_package\n", "FILE:2: ModuleNotFoundError: No module named 'no_such_package'; i"),
        ("import helper\n", "HELPER:2: ZeroDivisionError: division by zero"),
        ("\n\nraise SystemExit(3)\n", "FILE:3: SystemExit: 3"),
        ("a = '\x00'\n", "FILE:1: "),
        ("x = 1\n", "FILE:1: PythonPredictor class is not defined; define it with "),
        ("PythonPredictor = 3\n", "FILE:1: PythonPredictor class is not defined"),
        ("x = 1\nclass Model:\n    def predict(self): pass\n", "FILE:2: PythonPredictor class is not defined; rename"),
        ("class ONNXPredictor:\n    pass\n", "FILE:1: class ONNXPredictor is not supported"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, source: str, expected: str) -> None:
    (tmp_path / "helper.py").write_text("zero = 0\nx = 1 / zero\n")
    path = tmp_path / "predictor.py"
    path.write_text(source)
    with pytest.raises(PredictorError) as caught:
        load_predictor_class(tmp_path, "predictor.py")
    text = str(caught.value).replace(str(path), "FILE").replace(str(tmp_path / "helper.py"), "HELPER")
    assert text.startswith(expected)
    assert "\n" not in text


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match=r"nothing\.py: no such file"):
        load_predictor_class(tmp_path, "nothing.py")


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("def __init__(self, config):\n    config['model']", "FILE:6: KeyError: 'model'"),
        ("def __init__(self, config):\n    exit(1)", "FILE:6: SystemExit: 1"),
        ("def __init__(self, config):\n    raise OSError('many\\n  lines')", "FILE:6: OSError: many lines"),
        ("def __init__(self, config):\n    __import__('json').loads('{')", "FILE:6: JSONDecodeError: Expecting"),
    ],
)
def test_predictor_that_cannot_be_created(tmp_path: Path, init: str, expected: str) -> None:
    path = write_class(tmp_path, init, GOOD_PREDICT)
    loaded = load_predictor_class(tmp_path, "predictor.py")
    with pytest.raises(PredictorError) as caught:
        create_predictor(loaded, {})
    text = str(caught.value).replace(str(path), "FILE")
    assert text.startswith(expected)
    assert "\n" not in text


CLIENT_INIT = "def __init__(self, config, python_client): pass"


@pytest.mark.parametrize(
    ("methods", "has_models", "line", "message"),
    [
        (
            [GOOD_INIT, GOOD_PREDICT, "def load_model(self, model_path): pass"],
            True,
            5,
            'invalid signature for method "__init__": "python_client" is a required argument, but was not provided:'
            " when the python predictor type is used and models are specified in the api spec, adding the"
            ' "python_client" argument is required',
        ),
        (
            [CLIENT_INIT, GOOD_PREDICT],
            True,
            4,
            'required method "load_model" is not defined: when the python predictor type is used and models are'
            ' specified in the api spec, adding the "load_model" method is required',
        ),
        ([GOOD_PREDICT, CLIENT_INIT], False, 6, '__init__ asks for "python_client", but no models are configured'),
    ],
)
def test_models_and_python_client_belong_together(
    tmp_path: Path, methods: list[str], has_models: bool, line: int, message: str
) -> None:
    path = write_class(tmp_path, *methods)
    with pytest.raises(PredictorError) as caught:
        load_predictor_class(tmp_path, "predictor.py", has_models=has_models)
    assert str(caught.value).startswith(f"{path}:{line}: {START}{message}")


def test_init_itself_can_ask_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "words.txt").write_text("hello")
    init = "def __init__(self, config, python_client):\n    self.end = '!'\n    self.words = python_client.get_model()"
    read = "    return pathlib.Path(model_path, 'words.txt').read_text() + self.end"
    load = f"def load_model(self, model_path):\n    import pathlib\n{read}"
    write_class(tmp_path, init, load, "def predict(self):\n    return self.words")
    loaded = load_predictor_class(tmp_path, "predictor.py", has_models=True)
    client = PythonClient(tmp_path, ModelsSpec({SINGLE_MODEL_NAME: "model"}))
    assert answer(create_predictor(loaded, {}, client), loaded, Request(b"")).body == b"hello!"


def test_place_is_the_users_and_not_of_a_library_installed_in_the_project(tmp_path: Path) -> None:
    library = tmp_path / ".venv" / "lib" / "site-packages"
    library.mkdir(parents=True)
    (library / "some_library.py").write_text("def load():\n    raise ValueError('inside')\n")
    init = (
        f"def __init__(self, config):\n    import sys\n    sys.path.append({str(library)!r})\n    import some_library"
    )
    path = write_class(tmp_path, f"{init}\n    some_library.load()", GOOD_PREDICT)
    loaded = load_predictor_class(tmp_path, "predictor.py")
    with pytest.raises(PredictorError) as caught:
        create_predictor(loaded, {})
    assert str(caught.value) == f"{path}:9: ValueError: inside"


@pytest.mark.parametrize("name", ["cortex_latency", "istio_requests"])
def test_reserved_metric_names_are_refused_as_in_cortex(tmp_path: Path, name: str) -> None:
    init = f"def __init__(self, config, metrics_client):\n    metrics_client.histogram({name!r}, 1)"
    write_class(tmp_path, init, GOOD_PREDICT)
    with pytest.raises(PredictorError, match="are reserved"):
        create_predictor(load_predictor_class(tmp_path, "predictor.py"), {})
