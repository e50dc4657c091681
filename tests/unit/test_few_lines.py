from __future__ import annotations

import asyncio
import logging

import pytest

from cortex_compile.facade import few_lines
from cortex_compile.facade.few_lines import FewLines


def test_what_is_alike_is_logged_a_few_times_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(few_lines, "_WITHIN_S", 0.05)

    async def scenario() -> None:
        lines = FewLines(logging.getLogger("few"), "api")
        for number in range(105):
            lines.error(503, f"request {number} answered with 503")
        lines.error(504, "request x answered with 504")
        while "more within" not in caplog.text:
            await asyncio.sleep(0.01)
        lines.error(503, "request y answered with 503")

    asyncio.run(asyncio.wait_for(scenario(), 20))
    told = caplog.messages
    assert told[:5] == [f"request {number} answered with 503" for number in range(5)]
    assert told[5:] == [
        "request x answered with 504",
        "api: 100 more within 0.05 s like this one: request 0 answered with 503",
        "request y answered with 503",
    ]
