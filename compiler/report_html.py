"""report.html: one file, without a script and without anything from a network."""

from __future__ import annotations

import importlib.resources

from cortex_compile.compiler import report_words, tune_words
from cortex_compile.compiler.artifacts import Report
from cortex_compile.compiler.report_plot import latency_plot

__all__ = ["render_report"]


def render_report(report: Report) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["ms"] = report_words.milliseconds
    environment.filters["speedup"] = report_words.speedup_in_words
    environment.filters["count"] = report_words.count_in_words
    environment.filters["bytes"] = report_words.bytes_in_words
    environment.filters["seconds"] = report_words.seconds_in_words
    environment.filters["outcome"] = report_words.outcome_of
    environment.filters["difference"] = report_words.difference_in_words
    environment.filters["proof"] = report_words.proof_in_words
    environment.filters["plot"] = lambda curve: Markup(latency_plot(curve))  # names in it are escaped there
    environment.filters["stored"] = report_words.stored_in_words
    environment.filters["peaks"] = report_words.peaks_in_words
    environment.filters["answer_difference"] = report_words.answer_difference_in_words
    environment.filters["bounds"] = report_words.bounds_in_words
    environment.filters["dispatch"] = report_words.dispatch_in_words
    environment.filters["tuning"] = tune_words.tuning_in_words
    environment.filters["best_first"] = tune_words.best_first
    environment.filters["configuration"] = tune_words.configuration_in_words
    template = importlib.resources.files("cortex_compile.compiler") / "report.html.j2"
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        report=report, headline=report_words.headline_of(report)
    )
