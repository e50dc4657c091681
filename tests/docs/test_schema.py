"""The schema that editors use is the one that `cortex-compile` reads with, and says the same of a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from cortex_compile.compiler.tolerances import Tolerance, Tolerances

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


def test_the_document_speaks_of_every_key() -> None:
    text = (ROOT / "docs" / "cortex-yaml.md").read_text()
    told = {word for words in re.findall(r"`([^`\n]+)`", text) for word in words.split(".")}
    schema = load_script("write_schema").json_schema()
    keys = {key for section in schema["$defs"].values() for key in section.get("properties", {})}
    assert keys - told == set(), "docs/cortex-yaml.md"


def test_the_tolerances_in_the_document_are_those_in_force() -> None:
    text = (ROOT / "docs" / "cortex-yaml.md").read_text()
    found = {
        dtype: Tolerance(float(a), float(r)) for a, r, dtype in re.findall(r"(\S+) and (\S+)\s+for (float\d+)", text)
    }
    assert Tolerances(**found) == Tolerances()
    assert len(found) == 3


def test_the_example_in_the_document_is_right(validator: Any) -> None:
    text = (ROOT / "docs" / "cortex-yaml.md").read_text()
    example = text.split("```yaml\n")[1].split("```")[0]
    assert [error.message for error in validator.iter_errors(yaml.safe_load(example))] == []
