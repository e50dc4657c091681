"""report.html in a real browser: nothing is asked of a network, nothing is cut off, and dark is dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cortex_compile.compiler.report_html import render_report

from ..unit.example_report import EXAMPLE

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

# Run by the test's copy alone; the report itself has no script.
MEASURE = """
<script>
const wide = [...document.querySelectorAll("body *")].filter(
  e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest("svg"));
const colour = getComputedStyle(document.body).backgroundColor;
const drawn = [...document.querySelectorAll("svg")].map(e => Math.round(e.getBoundingClientRect().width));
const asked = performance.getEntriesByType("resource").length;
document.title = JSON.stringify({wide: wide.map(e => e.tagName), colour, drawn, asked});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium on this machine")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (500, True)])
def test_the_report_fits_and_is_drawn(tmp_path: Path, width: int, dark: bool) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(EXAMPLE).replace("</body>", f"{MEASURE}</body>"))
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'browser'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={width},900",
        "--dump-dom",
        page.as_uri(),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"<title>(.*?)</title>", ended.stdout)
    assert found is not None
    seen = json.loads(html.unescape(found[1]))
    assert seen["wide"] == []
    assert seen["asked"] == 0
    assert len(seen["drawn"]) == 2
    assert all(200 < drawn <= width for drawn in seen["drawn"])
    assert seen["colour"] == ("rgb(22, 24, 27)" if dark else "rgb(252, 252, 250)")
