"""Import the user's predictor as Cortex did, check its contract and create it."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import PredictorError
from .metrics_client import MetricsClient
from .mnt_project import map_imports, map_values, source_loader
from .python_client import PythonClient
from .signatures import CLASS_NAME, check_methods, check_models, line_of, line_of_method
from .user_errors import describe_error

__all__ = ["LoadedClass", "create_predictor", "enter_project", "load_predictor_class"]

_LOGGER = logging.getLogger("cortex_compile.runtime")

# OpenMP's, which torch, MKL and others read as they are imported.
_THREADS = "OMP_NUM_THREADS"
# Pickles and dataclasses look a class up under its module's name, so the name is the same everywhere.
_MODULE_NAME = "cortex_predictor"


@dataclass(frozen=True)
class LoadedClass:
    """A predictor class that keeps the contract. Arguments are without self, in the user's order."""

    cls: type
    module: ModuleType
    file: Path
    project: Path
    predict_arguments: tuple[str, ...]
    init_arguments: tuple[str, ...]
    post_predict_arguments: tuple[str, ...] | None = None
    """None where the class has no post_predict."""
    nan_as_null: bool = False
    """What the API says of NaN and infinity in answers."""


def enter_project(project: Path, python_path: str | None, env: Mapping[str, str], processes: int = 1) -> None:
    """Make this process look as Cortex's did: working folder, import path, environment, ``cortex_internal``.

    Args:
        processes: how many there are of it, which share the processors.
    """
    os.environ.update(map_values(dict(env), project.resolve()))
    if processes > 1:
        _take_share_of_processors(processes)
    os.chdir(project)
    if not os.access(".", os.W_OK):
        _LOGGER.warning("%s is read-only: a predictor that writes files beside itself will fail", project)
    _lead_import_path(project, python_path)
    _offer_cortex_internal()


def _take_share_of_processors(processes: int) -> None:
    """Libraries with threads of their own would take as many in each process as there are processors, and threads that
    outnumber those wait for each other: two processes of two threads were slower here than one. What the author or the
    environment says is kept."""
    if _THREADS in os.environ:
        return
    share = max(1, len(os.sched_getaffinity(0)) // processes)
    os.environ[_THREADS] = str(share)
    torch = sys.modules.get("torch")
    if torch is not None:  # it was read when torch was imported
        torch.set_num_threads(share)


def load_predictor_class(
    project: Path, file: str, python_path: str | None = None, *, has_models: bool = False, nan_as_null: bool = False
) -> LoadedClass:
    """Import ``file`` of the project and find the class ``PythonPredictor`` in it.

    Args:
        has_models: whether models are configured for ``python_client``.

    Raises:
        PredictorError: no such file, it cannot be imported, no such class, or a wrong signature.
    """
    path = project.resolve() / file
    if not path.is_file():
        raise PredictorError(f"{path}: no such file; give the path of the file that defines {CLASS_NAME}")
    _lead_import_path(project, python_path)
    map_imports(project.resolve())
    module = _import_user_file(path, project)
    cls = getattr(module, CLASS_NAME, None)
    if not inspect.isclass(cls):
        raise PredictorError(f"{path}:{_explain_missing_class(module)}")
    arguments = check_methods(cls, path)
    check_models(cls, arguments["__init__"], path, configured=has_models)
    return LoadedClass(
        cls=cls,
        module=module,
        file=path,
        project=project.resolve(),
        predict_arguments=arguments["predict"],
        init_arguments=arguments["__init__"],
        post_predict_arguments=arguments.get("post_predict"),
        nan_as_null=nan_as_null,
    )


def create_predictor(loaded: LoadedClass, config: dict[str, Any], python_client: PythonClient | None = None) -> object:
    """Run the user's ``__init__`` with a copy of config of its own.

    Raises:
        PredictorError: ``__init__`` raised.
    """
    place = f"{loaded.file}:{line_of_method(loaded.cls, '__init__')}"
    config = map_values(copy.deepcopy(config), loaded.project)
    offered: dict[str, Any] = {"config": config, "job_spec": None, "metrics_client": MetricsClient()}
    offered["python_client"] = python_client
    arguments = {name: offered[name] for name in loaded.init_arguments}
    try:
        if python_client is None:
            return loaded.cls(**arguments)
        # In two steps, so that __init__ itself can ask for models: load_model is a method of what it makes.
        new: Any = loaded.cls.__new__
        predictor = new(loaded.cls, **arguments)
        python_client.set_load_method(predictor.load_model)
        predictor.__init__(**arguments)
        return predictor
    except (Exception, SystemExit) as error:
        raise PredictorError(describe_error(error, loaded.project, otherwise=place)) from error


def _lead_import_path(project: Path, python_path: str | None) -> None:
    """Put the user's folders first, so that a module of the user's wins over an installed one of the same name."""
    folders = [str(project.resolve())]
    if python_path is not None:
        folders.append(str((project / python_path).resolve()))
    sys.path[:] = [*folders, *(entry for entry in sys.path if entry not in folders)]


def _offer_cortex_internal() -> None:
    """Let ``from cortex_internal.lib.log import logger`` work."""
    if "cortex_internal" in sys.modules:
        return
    for name in ("cortex_internal", "cortex_internal.lib", "cortex_internal.lib.log"):
        module = sys.modules[name] = ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
        module.__path__ = []
    vars(sys.modules["cortex_internal.lib.log"])["logger"] = logging.getLogger("cortex")


def _import_user_file(path: Path, project: Path) -> ModuleType:
    # The loader is named since a predictor's file may have any name: batch-predictor.py, or one without .py.
    loader = source_loader(_MODULE_NAME, path, project.resolve())
    spec = importlib.util.spec_from_loader(_MODULE_NAME, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE_NAME] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[_MODULE_NAME]
        text = describe_error(error, project, otherwise=f"{path}:1")
        if isinstance(error, ModuleNotFoundError):
            text += "; install it into this environment and name it in requirements.txt"
        raise PredictorError(text) from error
    return module


def _explain_missing_class(module: ModuleType) -> str:
    own = [item for item in vars(module).values() if inspect.isclass(item) and item.__module__ == _MODULE_NAME]
    for item in own:
        if item.__name__ in ("TensorFlowPredictor", "ONNXPredictor"):
            return f"{line_of(item)}: class {item.__name__} is not supported; write it as a {CLASS_NAME}"
    for item in own:
        if hasattr(item, "predict"):
            return f"{line_of(item)}: {CLASS_NAME} class is not defined; rename class {item.__name__} to {CLASS_NAME}"
    return f"1: {CLASS_NAME} class is not defined; define it with __init__(self, config) and predict(self, payload)"
