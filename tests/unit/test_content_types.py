from __future__ import annotations

import pytest

from cortex_compile.content_types import content_type_of, split_query


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("folder.json/photo.JPG", "image/jpeg"),
        ("sample.json", "application/json"),
        ("words.txt", "text/plain"),
        ("noise.bin", "application/octet-stream"),
        ("sample", "application/octet-stream"),
        ("model.pt", "application/octet-stream"),
    ],
)
def test_content_type_of(path: str, expected: str) -> None:
    assert content_type_of(path) == expected


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("sample.json", ("sample.json", "")),
        ("sample.json?model=sentiment", ("sample.json", "model=sentiment")),
        ("a/b.json?q=%3F&r=?", ("a/b.json", "q=%3F&r=?")),
    ],
)
def test_split_query(sample: str, expected: tuple[str, str]) -> None:
    assert split_query(sample) == expected
