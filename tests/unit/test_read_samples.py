"""Samples: where they come from, what kind they are, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cortex_compile.compiler.artifacts import Sample
from cortex_compile.compiler.cortex_yaml_schema import SampleEntry
from cortex_compile.compiler.read_samples import default_samples, read_listed_samples, read_sample
from cortex_compile.errors import ProjectError


def test_the_extension_gives_the_kind_and_the_query_follows_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    sample = read_sample(f"{tmp_path / 'cat.png'}?top=3&q=a%20b")
    assert sample == Sample("cat.png?top=3&q=a%20b", b"\x89PNG", "image/png", "top=3&q=a%20b")


def test_a_file_whose_name_has_a_question_mark_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "why?.txt").write_text("because")
    assert read_sample(str(tmp_path / "why?.txt")) == Sample("why?.txt", b"because", "text/plain")


def test_a_query_may_be_longer_than_any_file_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    query = "text=" + "a" * 300
    assert read_sample(f"{tmp_path / 'a.json'}?{query}").query_string == query
    assert read_listed_samples(tmp_path, [SampleEntry(file=f"a.json?{query}")], [""])[0].query_string == query
    with pytest.raises(ProjectError, match="cannot be read \\(File name too long\\)"):
        read_sample("x" * 300)


def test_listed_samples_have_queries_and_headers(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b").write_bytes(b"x")
    entries = [
        SampleEntry(file="a.json?model=x"),
        SampleEntry.model_validate(
            {"file": "b", "query": {"n": 1}, "headers": {"Content-Type": "text/csv", "x-a": "b"}}
        ),
    ]
    assert read_listed_samples(tmp_path, entries, ["", ""]) == (
        Sample("a.json?model=x", b"{}", "application/json", "model=x"),
        Sample("b?n=1", b"x", "text/csv", "n=1", (("x-a", "b"),)),
    )


def test_sample_files_beside_a_predictor_are_found_by_name_in_order(tmp_path: Path) -> None:
    for name in ("sample2.json", "sample.json", "samples.txt"):
        (tmp_path / name).write_text("1")
    for name in ("sample_maker.py", "sample.md", "example.json", ".sample.json"):
        (tmp_path / name).write_text("not a sample")
    (tmp_path / "samples").mkdir()
    assert [sample.name for sample in default_samples(tmp_path)] == ["sample.json", "sample2.json", "samples.txt"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": 1,\n "b" 2}', ":2:6: the sample is not JSON: Expecting ':' delimiter"),
        (b"", ":1:1: the sample is not JSON: Expecting value"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b"[" * 100_000, "more levels than Python can read"),
    ],
)
def test_a_json_sample_that_is_not_json(tmp_path: Path, body: bytes, words: str) -> None:
    path = tmp_path / "sample.json"
    path.write_bytes(body)
    with pytest.raises(ProjectError) as caught:
        read_sample(str(path))
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_a_sample_that_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    entry = SampleEntry(file="none.json")
    with pytest.raises(ProjectError, match=r"cortex\.yaml:9: there is no sample file '.*none\.json'"):
        read_listed_samples(tmp_path, [entry], ["cortex.yaml:9"])
    with pytest.raises(ProjectError, match="is a folder"):
        read_sample(str(tmp_path))
