"""How a report's numbers and verdicts are written, the same in report.html and in ``inspect``."""

from __future__ import annotations

from cortex_compile.compiler.artifacts import (
    Attempt,
    Difference,
    ModuleReport,
    Report,
    label_of,
)
from cortex_compile.compiler.compare_answers import NO_TOLERANCE, AnswerDifference

__all__ = [
    "answer_difference_in_words",
    "bounds_in_words",
    "bytes_in_words",
    "count_in_words",
    "difference_in_words",
    "dispatch_in_words",
    "headline_of",
    "milliseconds",
    "outcome_of",
    "peaks_in_words",
    "proof_in_words",
    "seconds_in_words",
    "speedup_in_words",
    "stored_in_words",
]


def headline_of(report: Report) -> str:
    """The report in one sentence."""
    compiled = sum(_is_compiled(module) for module in report.modules)
    modules = len(report.modules)
    if not modules:
        return "No torch module was seen at work: the predictor is served as it is."
    what = f"{compiled} of {modules} module{'s' if modules > 1 else ''} compiled"
    if not compiled:
        return f"{what}: the predictor is served as it is."
    if not report.samples:
        return f"{what}."
    speedups = [sample.speedup for sample in report.samples]
    lowest, highest = speedup_in_words(min(speedups)), speedup_in_words(max(speedups))
    speed = lowest if lowest == highest else f"{lowest} to {highest}"
    equal = all(sample.answers_equal for sample in report.samples)
    answers = "every answer equal" if equal else "NOT every answer equal"
    return f"{what}; the whole predictor answers {speed} as fast, {answers}."


def _is_compiled(module: ModuleReport) -> bool:
    return module.engine != "eager"


def milliseconds(value: float) -> str:
    """Three digits that mean something: ``0.042``, ``1.37``, ``26.4``, ``1,204``."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def speedup_in_words(value: float) -> str:
    return f"{value:.0f}×" if value >= 100 else f"{value:.1f}×" if value >= 10 else f"{value:.2f}×"


def count_in_words(value: int) -> str:
    """``4,963`` or ``22.7 million``."""
    return f"{value:,}" if value < 1_000_000 else f"{value / 1e6:,.1f} million"


def bytes_in_words(value: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def seconds_in_words(value: float) -> str:
    if value < 120:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def stored_in_words(module: ModuleReport) -> str:
    """What a compiled module costs: on disk, and in the memory of each process that opens its graphs."""
    chosen = [
        attempt
        for signature in module.signatures
        for attempt in signature.attempts
        if attempt.label == label_of(module.engine, module.precision) and attempt.refused_at is None
    ]
    held = sum(attempt.session_mib or 0.0 for attempt in chosen) * 2**20
    text = f"its graphs and weights take {bytes_in_words(module.disk_bytes)} on disk" if module.disk_bytes else ""
    if held:
        text += f"{', and' if text else 'its graphs take'} about {bytes_in_words(held)} of memory when opened"
    return text


def peaks_in_words(report: Report) -> str:
    peaks = [f"{bytes_in_words(mib * 2**20)} for {what}" for what, mib in report.peak_mib.items()]
    return f"at most {', '.join(peaks)}" if peaks else ""


def outcome_of(attempt: Attempt) -> str:
    if attempt.refused_at is not None:
        outcome = f"refused at {attempt.refused_at}"
    else:
        # Of less than fp32 the predictor's answers are compared, not the module's results.
        outcome = "equal and faster" if attempt.precision == "fp32" else "faster"
    return f"{outcome} (exported by {attempt.exporter})" if attempt.exporter else outcome


def dispatch_in_words(report: Report) -> str:
    """How a process answers its requests, and why so."""
    dispatch = report.dispatch
    if dispatch is None:
        return ""
    if dispatch.kind == "threads":
        return f"A process answers {dispatch.threads} requests at once, in threads, as its configuration says."
    if dispatch.kind == "passed turn":
        shared = (
            f" Their calls share runs of about {dispatch.shared_rows} rows, which were proven independent."
            if dispatch.shared_rows > 1
            else ""
        )
        if dispatch.side_by_side:
            shared += (
                " Where there are calls enough, such runs go on side by side, each on a thread of its own; for that a"
                " process opens their graphs twice."
            )
        return (
            f"A process has up to {dispatch.threads} requests under way, one at a time in the predictor's Python: while"
            " one waits in a compiled call, another goes on. On the samples that changed no answer, in many orders."
            f"{shared}"
        )
    why = (
        f"With others in between it was not proven right: {dispatch.turn_refused}."
        if dispatch.turn_refused is not None
        else "Others may go on while one waits in a compiled call: `cortex-compile tune` measures if that is faster."
    )
    where = ", as Triton hands them over, since the samples take so little" if dispatch.in_execute else ""
    return f"A process answers one request after the other{where}. {why}"


def difference_in_words(difference: Difference) -> str:
    """The worst element: where, how far off, and how much of what is allowed that uses."""
    index = ", ".join(map(str, difference.index))
    where = f"{difference.where}[{index}]" if index else difference.where
    return (
        f"{where}: {difference.expected:.7g} became {difference.found:.7g},"
        f" off by {difference.absolute:.3g}, {_share_in_words(difference.excess)} the tolerance"
    )


def answer_difference_in_words(worst: AnswerDifference) -> str:
    """The worst place of an answer: ``scores[3] is 0.52, eager says 0.51, 12% of the tolerance (…)``."""
    words = f"{worst.where or 'it'} is {worst.found}, eager says {worst.expected}"
    if worst.excess >= NO_TOLERANCE:
        return words
    allowed = f"absolute {worst.absolute:g} + relative {worst.relative:g}"
    return f"{words}, {_share_in_words(worst.excess)} the tolerance ({allowed})"


def _share_in_words(excess: float) -> str:
    if excess > 1:
        return f"{excess:,.3g} times" if excess < 100 else f"{excess:,.0f} times"
    return f"{excess:.0%} of" if excess >= 0.1 else f"{excess:.1%} of"


def proof_in_words(attempt: Attempt) -> str:
    """What the graph was compared on."""
    verdict = attempt.verdict
    if verdict is None or not verdict.calls_compared:
        return ""
    sizes = "; ".join(f"{name} {', '.join(map(str, tried))}" for name, tried in verdict.sizes_tried.items())
    text = f"compared on {verdict.calls_compared} calls"
    if verdict.excused:
        text += f" ({verdict.excused} far from the samples excused, where eager itself moves as much by rounding)"
    return text + (f" with {sizes}" if sizes else "")


def bounds_in_words(attempt: Attempt) -> tuple[str, ...]:
    """Lines that say for which sizes the graph is used, why for no others, and whether calls may share a batch."""
    verdict = attempt.verdict
    if verdict is None or not verdict.equal:
        return ()
    lines = []
    for bound in verdict.bounds:
        if bound.minimum == bound.maximum:
            lines.append(f"{bound.dimension} is {bound.minimum} only: {bound.why_no_larger}")
            continue
        text = f"{bound.dimension} may be {bound.minimum} to {bound.maximum}"
        text += f"; no smaller: {bound.why_no_smaller}" if bound.minimum > 0 else ""
        lines.append(f"{text}; no larger: {bound.why_no_larger}")
    if verdict.batch_dimension:
        lines.append(f"calls may share a batch: rows along {verdict.batch_dimension} are independent")
    elif verdict.batch_reason:
        lines.append(f"calls may not share a batch: {verdict.batch_reason}")
    for padding in verdict.padding:
        if padding.safe:
            lines.append(
                f"calls may be filled up along {padding.dimension}, hidden by {padding.mask}: {padding.reason}"
            )
        elif verdict.batch_dimension:
            lines.append(f"calls may not be filled up along {padding.dimension}: {padding.reason}")
    return tuple(lines)
