"""Every row of the table, proven on a running server; and the document that tells of them is the table's."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex_compile.errors import LaunchError, PredictorError
from cortex_compile.launchers.server_folder import find_installed_server
from cortex_compile.python_backend.load_predictor import create_predictor, load_predictor_class

from .every_row import DOCUMENT, ROWS, document_text
from .live import Live, Received, build_project, serve
from .server_table import ALLOWED_ORIGIN
from .table import Answer, Ask, Proof, Refused, Row

PROJECT = Path(__file__).with_name("project")
CASES = [
    pytest.param(proof, id=f"{row.area}: {row.behaviour[:60]} [{number}]")
    for row in ROWS
    for number, proof in enumerate(row.proofs)
]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    try:
        find_installed_server()
    except LaunchError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("contract")
    builds = build_project(PROJECT, folder / "builds")
    with serve(builds, folder, "--cors-origin", ALLOWED_ORIGIN) as running:
        yield running


@pytest.fixture
def import_path_as_before() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("cortex_predictor", None)


@pytest.mark.triton
@pytest.mark.parametrize("proof", [case for case in CASES if not isinstance(case.values[0], Refused)])
def test_a_row_on_the_running_server(live: Live, proof: Proof) -> None:
    if isinstance(proof, Ask):
        check_answer(ask(live, proof), proof.answer)
    else:
        assert not isinstance(proof, Refused)
        proof(live)


@pytest.mark.usefixtures("import_path_as_before")
@pytest.mark.parametrize("proof", [case for case in CASES if isinstance(case.values[0], Refused)])
def test_a_predictor_that_is_refused(tmp_path: Path, proof: Refused) -> None:
    (tmp_path / "predictor.py").write_text(proof.predictor)
    with pytest.raises(PredictorError) as caught:
        create_predictor(load_predictor_class(tmp_path, "predictor.py"), {})
    message = str(caught.value)
    assert re.match(rf"{re.escape(str(tmp_path / 'predictor.py'))}:\d+: ", message)
    assert proof.words in message
    assert "\n" not in message


def test_the_document_is_the_table() -> None:
    assert DOCUMENT.read_text() == document_text(), "run scripts/write_compatibility"


def test_no_behaviour_stands_twice() -> None:
    assert len({(row.area, row.behaviour) for row in ROWS}) == len(ROWS)
    assert {type(row) for row in ROWS} == {Row}


def ask(live: Live, request: Ask) -> Received:
    if request.raw is not None:
        return live.send(request.raw)
    path = request.path or f"/{request.api}"
    target = f"{path}?{request.query}" if request.query else path
    return live.ask(request.method, target, request.body, request.content_type, request.headers)


def check_answer(found: Received, expected: Answer) -> None:
    assert found.status == expected.status, found
    if expected.body is not None:
        assert found.body == expected.body
    if expected.json is not None:
        assert json.loads(found.body) == expected.json
    if expected.matches is not None:
        assert re.fullmatch(expected.matches, found.body.decode()), found.body
    for name, value in expected.headers.items():
        assert found.header(name) == value, found.headers
