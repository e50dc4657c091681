"""For a build that is not compiled: import the user's file and check its class, and nothing more.

Without this a wrong signature would show when the build is served. It runs in a process of its own, as all of the
user's code does.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cortex_compile.compiler.answer_samples import load_class
from cortex_compile.compiler.artifacts import Project
from cortex_compile.compiler.isolation import Ended, run_child
from cortex_compile.errors import CortexCompileError, PredictorError
from cortex_compile.python_backend.records import from_json

__all__ = ["check_class"]

_IMPORT_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class ClassRequest:
    project: Project


def check_class(project: Project, work: Path) -> None:
    """
    Raises:
        PredictorError: the file cannot be imported, has no PythonPredictor, or one with a wrong signature.
    """
    request = ClassRequest(project)
    for message in run_child("cortex_compile.compiler.check_class", request, work / "class.json", _IMPORT_TIMEOUT_S):
        if isinstance(message, Ended) and message.reason is not None:
            raise PredictorError(
                f"{project.folder / project.predictor}: the process that imported it stopped ({message.reason}); "
                "what it printed is above"
            )


def main() -> None:
    """``python -m cortex_compile.compiler.check_class REQUEST.json PIPE``, where PIPE is a file descriptor."""
    with os.fdopen(int(sys.argv[2]), "w") as pipe:
        try:
            load_class(from_json(ClassRequest, json.loads(Path(sys.argv[1]).read_text())).project)
        except CortexCompileError as error:
            pipe.write(json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}) + "\n")


if __name__ == "__main__":
    main()
