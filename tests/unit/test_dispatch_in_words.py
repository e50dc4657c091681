"""What the report says of how a process answers its requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cortex_compile.compiler.report_words import dispatch_in_words
from cortex_compile.python_backend.manifest import Dispatch

from .example_report import EXAMPLE

SIDE_BY_SIDE = Dispatch("passed turn", 32, None, shared_rows=8, side_by_side=True)


@pytest.mark.parametrize(
    ("dispatch", "told", "untold"),
    [
        (SIDE_BY_SIDE, ("up to 32 requests under way", "runs of about 8 rows", "side by side", "twice"), ()),
        (replace(SIDE_BY_SIDE, side_by_side=False), ("runs of about 8 rows",), ("side by side", "twice")),
        (Dispatch("passed turn", 2, None), ("up to 2 requests under way",), ("share",)),
        (Dispatch("in turn", 1, "it draws"), ("one request after the other", "it draws"), ("tune",)),
        (Dispatch("in turn", 1, None), ("one request after the other", "cortex-compile tune"), ("not proven",)),
        (Dispatch("in turn", 1, None, in_execute=True), ("one request after the other, as Triton hands",), ()),
        (Dispatch("threads", 4, None), ("4 requests at once",), ()),
    ],
)
def test_how_requests_are_answered_is_told(dispatch: Dispatch, told: tuple[str, ...], untold: tuple[str, ...]) -> None:
    words = dispatch_in_words(replace(EXAMPLE, dispatch=dispatch))
    assert all(each in words for each in told), words
    assert not any(each in words for each in untold), words
