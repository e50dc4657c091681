"""Load the predictor in the working folder as Cortex did, answer the requests on stdin, write the answers to stdout."""

from __future__ import annotations

import json
import sys

from starlette.datastructures import QueryParams
from starlette.responses import Response


def main() -> None:
    sys.path.insert(0, ".")
    from predictor import PythonPredictor

    predictor = PythonPredictor({})
    accepted = PythonPredictor.predict.__code__.co_varnames
    answers = []
    for query, payload in json.load(sys.stdin):
        offered = {"payload": payload, "query_params": QueryParams(query)}
        answer = predictor.predict(**{name: value for name, value in offered.items() if name in accepted})
        if isinstance(answer, Response):
            answer = {"status_code": answer.status_code, "body": answer.body.decode()}
        answers.append(answer)
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
