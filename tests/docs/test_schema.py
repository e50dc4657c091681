"""The schema that editors use is the one that `cortex-compile` reads with, and says the same of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from ..unit.test_cortex_yaml import EVERY_KEY, HEAD
from .scripts import ROOT, load_script


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema_rs.validator_for(json.loads(load_script("write_schema").SCHEMA.read_text()))


def test_the_schema_is_that_of_the_models() -> None:
    writer = load_script("write_schema")
    assert writer.SCHEMA.read_text() == writer.schema_text(), "run scripts/write_schema"


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/cortex.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_fit(validator: Any, path: Path) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize("text", [EVERY_KEY, HEAD, "- {name: a, kind: BatchAPI, jobs: 1}\n"])
def test_what_is_right_fits(validator: Any, text: str) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text.replace("1e-", "1.0e-")))] == []


@pytest.mark.parametrize(
    "wrong",
    [
        "  compte: {}\n",
        "    conf: {}\n",
        "    env: {CORTEX_A: b}\n",
        "    processes_per_replica: 0\n",
        "  compute: {gpu: 0.5}\n",
        "  compute: {cpu: [1]}\n",
        "  networking: {endpoint: a b}\n",
        "  compile: {samples: [{fil: a}]}\n",
        "  compile: {device: gpu}\n",
        "  compile: {tolerance: {float32: {absolute: -1}}}\n",
    ],
)
def test_what_is_wrong_does_not(validator: Any, wrong: str) -> None:
    assert not validator.is_valid(yaml.safe_load(HEAD + wrong))
