"""Child: ``plain_answers.py BUILD FILE`` answers requests as the build's predictor does in plain Python, with
nothing compiled and no server. A JSON list of bodies on stdin becomes a JSON list of answers in FILE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cortex_compile.python_backend.answer import answer
from cortex_compile.python_backend.load_predictor import create_predictor, enter_project, load_predictor_class
from cortex_compile.python_backend.manifest import read_manifest
from cortex_compile.python_backend.request import request_from_context


def main() -> None:
    build, answers_file = Path(sys.argv[1]), Path(sys.argv[2]).absolute()
    bodies = json.load(sys.stdin)
    manifest = read_manifest(build / "manifest.json")
    project = build.absolute() / "model_repository" / manifest.name / "1" / "project"
    enter_project(project, manifest.python_path, manifest.env)
    loaded = load_predictor_class(project, manifest.predictor, manifest.python_path)
    predictor = create_predictor(loaded, manifest.config)
    context = json.dumps({"content_type": "application/json"}).encode()
    answers = [answer(predictor, loaded, request_from_context(body.encode(), context)) for body in bodies]
    answers_file.write_text(json.dumps([each.body.decode() for each in answers]))


if __name__ == "__main__":
    main()
