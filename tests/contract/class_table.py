"""The predictor class: what it is given, when its methods run, and which classes are refused with which words."""

from __future__ import annotations

from .scenarios import (
    failing_post_predict_fails_nothing,
    post_predict_alone_asks_for_payload,
    post_predict_runs_after_the_answer,
)
from .table import Answer, Ask, Refused, Row

__all__ = ["ROWS"]

_AREA, _REFUSED = "Predictor class", "Refused before it serves, with file and line"
_INIT = "    def __init__(self, config): ...\n"
_PREDICT = "    def predict(self, payload): ...\n"


def _class(*methods: str) -> str:
    return "class PythonPredictor:\n" + "".join(methods)


def _refused(behaviour: str, cortex: str, predictor: str, words: str, *, better: str = "") -> Row:
    proofs = (Refused(predictor, words),)
    return Row(_REFUSED, behaviour, cortex, better, proofs, "better" if better else "same")


ROWS = (
    Row(
        _AREA,
        "arguments are injected by name; those with a default too; `batch_id` and `job_spec` are None",
        "so; config is a copy of its own",
        "",
        (
            Ask(
                "echo",
                Answer(
                    json={
                        "config": {"greeting": "hello", "nested": {"labels": ["setosa", 1, "mine"]}},
                        "job_spec": None,
                        "batch_id": None,
                        "words": ["from python_path", "from a sibling", "yes", "project"],
                        "labels": ["setosa"],
                    }
                ),
                b"0",
                query="tell=world",
            ),
        ),
    ),
    Row(
        _AREA,
        "`open('labels.json')`, sibling modules, `python_path`, `env`, `cortex_internal.lib.log`, `metrics_client`",
        "work",
        "",
        (Ask("echo", Answer(200), b"0", query="tell=world"),),
    ),
    Row(
        _AREA,
        "keyword-only arguments",
        "accepted and never given: every request was a 500",
        "given",
        (Ask("keyword", Answer(json={"payload": [1], "query": "7"}), b"[1]", query="q=7"),),
        "better",
    ),
    Row(
        _AREA,
        "a `predict` behind a `functools.wraps` decorator",
        'refused: "self" is a required argument',
        "works",
        (Ask("decorated", Answer(200, body=b"SETOSA"), b'"setosa"'),),
        "better",
    ),
    Row(
        _AREA,
        "`async def predict`",
        "500: a coroutine is not JSON",
        "awaited",
        (Ask("later", Answer(json={"later": [1]}), b"[1]"),),
        "better",
    ),
    Row(
        _AREA,
        "`post_predict(response, payload, query_params, headers)`",
        "after the answer, in its thread; the next request waits for it",
        "after the answer; the next request does not wait for it",
        (post_predict_runs_after_the_answer,),
        "better",
    ),
    Row(
        _AREA,
        "an exception in `post_predict`",
        "lost",
        "in the log; no request fails",
        (failing_post_predict_fails_nothing,),
        "better",
    ),
    Row(
        _AREA,
        "a `post_predict` that asks for `payload` where `predict` does not",
        "every request was a 500",
        "works",
        (post_predict_alone_asks_for_payload,),
        "better",
    ),
    _refused(
        "no `predict`", "the same words", _class(_INIT), 'required method "predict" is not defined; add def predict'
    ),
    _refused(
        "`predict` that is no method",
        "the same words",
        _class(_INIT, "    predict = 3\n"),
        '"predict" is defined, but is not a method; define def predict(self, payload)',
    ),
    _refused(
        "`__init__` without `config`, or no `__init__`",
        "the same words",
        _class("    def __init__(self): ...\n", _PREDICT),
        'invalid signature for method "__init__(self)": "config" is a required argument, but was not provided',
    ),
    _refused(
        "an argument that there is not, even with a default",
        "the same words",
        _class(_INIT, "    def predict(self, payload, request=None): ...\n"),
        'invalid signature for method "predict(self, payload, request)": "request" is not a supported argument',
    ),
    _refused(
        "`self` that is not first",
        "the same words",
        _class(_INIT, "    def predict(payload, self): ...\n"),
        '"self" must be the first argument',
    ),
    _refused(
        "`@staticmethod`",
        "the same words",
        _class(_INIT, "    @staticmethod\n", "    def predict(payload): ...\n"),
        '"self" is a required argument, but was not provided',
    ),
    _refused(
        "an optional method with a wrong argument",
        "the same words, before those of the required ones",
        _class(_INIT, "    def post_predict(self, answer): ...\n"),
        'invalid signature for method "post_predict(self, answer)": "answer" is not a supported argument',
    ),
    _refused(
        "no class `PythonPredictor`",
        "the same words",
        "class Predictor:\n" + _INIT,
        "PythonPredictor class is not defined",
    ),
    _refused(
        "a file that cannot be imported",
        "the error's text alone",
        "import no_such_module_anywhere",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'; install it into this environment",
        better="file, line and what to install",
    ),
    _refused(
        "an exception in `__init__`",
        "`__init__: TEXT: runtime exception`",
        _class("    def __init__(self, config):\n        self.label = config['label']\n", _PREDICT),
        "predictor.py:3: KeyError: 'label'",
        better="the line of the user's that raised, and the exception's type",
    ),
    _refused(
        "`python_client` where no models are configured",
        "TypeError when it starts",
        _class("    def __init__(self, config, python_client): ...\n", _PREDICT),
        '__init__ asks for "python_client", but no models are configured',
        better="what to write",
    ),
    _refused(
        "a positional-only argument",
        "accepted; every request was a 500",
        _class(_INIT, "    def predict(self, payload, /): ...\n"),
        '"payload" is given by name, so it must stand after the "/"',
        better="refused before it serves",
    ),
)
