"""report.json comes back as it was, and report.html shows it without asking the network for anything."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cortex_compile.compiler import report_words
from cortex_compile.compiler.artifacts import Difference, Report, SizeCurve, SizePoint
from cortex_compile.compiler.report import read_report, write_report
from cortex_compile.compiler.report_html import render_report
from cortex_compile.compiler.report_plot import latency_plot, round_marks
from cortex_compile.errors import BuildError


def load_example() -> Report:
    specification = importlib.util.spec_from_file_location(
        "example_report", Path(__file__).with_name("example_report.py")
    )
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    report: Report = module.EXAMPLE
    return report


EXAMPLE = load_example()
EMPTY = replace(EXAMPLE, notices=(), modules=(), samples=(), memory=None)


class Text(HTMLParser):
    """The words of a page, the elements left open, and the addresses that it names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for report in (EXAMPLE, EMPTY):
        write_report(report, tmp_path)
        assert read_report(tmp_path) == report


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no report.json"),
        ("{", "cannot be read"),
        ("[]", "version None"),
        ('{"version": 99}', "version 99, this release reads version 1"),
        ('{"version": 1}', "name is missing"),
    ],
)
def test_a_report_that_cannot_be_read(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(BuildError, match=words):
        read_report(tmp_path)


def test_a_field_that_does_not_fit_is_named(tmp_path: Path) -> None:
    write_report(EXAMPLE, tmp_path)
    value = json.loads((tmp_path / "report.json").read_text())
    value["modules"][1]["signatures"][0]["attempts"][0]["refused_at"] = "later"
    (tmp_path / "report.json").write_text(json.dumps(value))
    with pytest.raises(BuildError, match=r"modules\[1\]\.signatures\[0\]\.attempts\[0\]\.refused_at: expected one of"):
        read_report(tmp_path)


def test_the_page_is_whole_and_names_no_address() -> None:
    page = Text(render_report(EXAMPLE))
    assert page.open == []
    assert page.addresses == []
    assert not re.search(r"https?:|@import|url\(|<script", render_report(EXAMPLE))


def test_the_page_shows_every_text_and_number_of_the_report() -> None:
    shown = " ".join(Text(render_report(EXAMPLE)).words)
    for module in EXAMPLE.modules:
        assert module.path in shown
        assert module.class_name in shown
        assert module.decision in shown
        assert module.called_from in shown
        for attempt in (attempt for signature in module.signatures for attempt in signature.attempts):
            assert attempt.reason in shown
            assert attempt.reproduce in shown
            assert f"{attempt.engine} {report_words.outcome_of(attempt)}" in shown
            assert report_words.proof_in_words(attempt)[1:] in shown
            for line in report_words.bounds_in_words(attempt):
                assert line[1:] in shown
            if attempt.verdict and attempt.verdict.worst:
                assert report_words.difference_in_words(attempt.verdict.worst) in shown
            for item in attempt.measurements:
                assert (
                    f"{report_words.milliseconds(item.eager_p50_ms)} ({report_words.milliseconds(item.eager_p99_ms)})"
                    in shown
                )
                assert report_words.speedup_in_words(item.speedup) in shown
    for sample in EXAMPLE.samples:
        assert f"{sample.name} {sample.status_code} {report_words.milliseconds(sample.eager_p50_ms)}" in shown
    assert EXAMPLE.notices[0] in shown
    assert "801 383" in shown
    assert "612 344" in shown
    assert "compiling took at most 1.8 GiB for trying engines, 906 MiB for rehearsal" in shown
    assert "On a machine with GPUs: 1 instance on each GPU, priority 1, no batch waits to be filled. " in shown
    assert "Its graphs and weights take 259 MiB on disk, and about 272 MiB of memory when opened." in shown
    assert all(value in shown for value in EXAMPLE.machine.values())


def test_what_comes_from_the_user_is_text_and_not_markup() -> None:
    page = render_report(EXAMPLE)
    assert "<b>sentiment" not in page
    assert "&lt;b&gt;sentiment" in page


def test_an_answer_that_differs_is_loud() -> None:
    sample = replace(EXAMPLE.samples[0], answers_equal=False)
    report = replace(EXAMPLE, samples=(sample,))
    assert '<span class="bad">differs</span>' in render_report(report)
    assert "NOT every answer equal" in report_words.headline_of(report)


def test_a_report_of_nothing_is_a_page_too() -> None:
    page = Text(render_report(EMPTY))
    assert page.open == []
    assert "predict called no torch module on the samples." in " ".join(page.words)


def test_the_headline() -> None:
    assert report_words.headline_of(EXAMPLE) == (
        "1 of 2 modules compiled; the whole predictor answers 0.93× to 2.88× as fast, every answer equal."
    )
    one = replace(EXAMPLE, samples=EXAMPLE.samples[:1], modules=EXAMPLE.modules[:1])
    assert report_words.headline_of(one) == (
        "1 of 1 module compiled; the whole predictor answers 2.88× as fast, every answer equal."
    )
    eager = replace(EXAMPLE, modules=EXAMPLE.modules[1:])
    assert report_words.headline_of(eager) == "0 of 1 module compiled: the predictor is served as it is."
    assert report_words.headline_of(EMPTY).startswith("No torch module was seen at work")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0421, "0.042"), (1.374, "1.37"), (26.44, "26.4"), (161.2, "161"), (1204.3, "1,204")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert report_words.milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 bytes"), (19_852, "19.4 KiB"), (267_820_040, "255 MiB"), (6e9, "5.6 GiB")]
)
def test_bytes(value: float, text: str) -> None:
    assert report_words.bytes_in_words(value) == text


@pytest.mark.parametrize(
    ("excess", "text"),
    [(0.034, "3.4% of the tolerance"), (0.5, "50% of"), (2.5, "2.5 times the"), (14_600.0, "14,600 times the")],
)
def test_how_much_of_the_tolerance_a_difference_is(excess: float, text: str) -> None:
    difference = Difference("logits", (0, 1), 1.0, 1.5, 0.5, excess)
    assert text in report_words.difference_in_words(difference)
    assert report_words.difference_in_words(difference).startswith("logits[0, 1]: 1 became 1.5, off by 0.5, ")


def test_the_plots_show_each_figure_where_it_belongs() -> None:
    curve = EXAMPLE.modules[0].signatures[0].attempts[0].curves[1]
    drawing = ElementTree.fromstring(latency_plot(curve))
    dots = drawing.findall("circle")
    assert [dot[0].text for dot in dots][:5] == [
        f"before, size {point.size}: {report_words.milliseconds(point.eager_ms)} ms" for point in curve.points
    ]
    assert [dot.get("class") for dot in dots] == ["before"] * 5 + ["after"] * 5
    across = [float(dot.get("cx", 0)) for dot in dots]
    assert across[:5] == across[5:] == sorted(across[:5])
    for before, after in zip(dots[:5], dots[5:], strict=True):  # slower is higher up, where y is smaller
        assert float(before.get("cy", 0)) < float(after.get("cy", 0))
    shown = [text.text for text in drawing.findall("text")]
    assert "length" in shown
    assert [text.text for text in drawing.findall("text[@class='sample']")] == ["12"]
    assert all(0 <= float(dot.get("cx", -1)) <= 360 and 0 <= float(dot.get("cy", -1)) <= 200 for dot in dots)


@pytest.mark.parametrize(
    ("low", "high", "marks"), [(2, 230, [2, 5, 10, 20, 50, 100, 200, 500]), (0.09, 0.7, [0.05, 0.1, 0.2, 0.5, 1])]
)
def test_marks_are_round_and_hold_everything(low: float, high: float, marks: list[float]) -> None:
    assert round_marks(low, high) == pytest.approx(marks)


def test_a_dimension_is_text_in_a_plot_too() -> None:
    curve = replace(EXAMPLE.modules[0].signatures[0].attempts[0].curves[0], dimension='<a "b">')
    assert ElementTree.fromstring(latency_plot(curve)).findall("a") == []


def test_a_time_that_was_rounded_to_nothing_is_drawn_too() -> None:
    curve = SizeCurve("batch", 1, (SizePoint(1, 0.0, 0.0), SizePoint(4, 0.002, 0.0)))
    assert len(ElementTree.fromstring(latency_plot(curve)).findall("circle")) == 4
