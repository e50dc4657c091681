"""docs/zoo.md, made of the results."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from .rows import Row
from .run_rows import Result

FILE = Path(__file__).parents[2] / "docs" / "zoo.md"

_KINDS = {
    "text": "Text encoders",
    "decoder": "Decoders",
    "seq2seq": "Encoder and decoder",
    "vision": "Vision",
    "audio": "Audio",
    "multimodal": "Several kinds of input",
    "by hand": "Awkward predictors, written by hand",
}

_HEAD = """# The zoo

`python -m benchmarks.zoo` compiles each row as a user would, with `cortex-compile predictor.py` and two samples, and
asks the build and the predictor as it is what no sample held: other batches, other lengths, other values. It wrote this
page. The models are tiny and seeded: architectures of transformers from their config classes
([architectures.yaml](../benchmarks/zoo/architectures.yaml), five of them in one predictor at a time), and predictors
written by hand with the features that real ones have ([by_hand](../benchmarks/zoo/by_hand)).

- **compiled**: the main module was exported, proven equal, faster, exchanged, and ran compiled on
  inputs unlike the samples'.
- **equal**: exported and proven equal, and not used, since at this size it is not faster.
- **eager**: the main module runs as it did, for the reason given. Parts of it may be compiled all the same.
- **failed**: there is no build, or an answer was not eager's.

The difference is the worst one over all results and all inputs, absolute, and in hundredths of what is tolerated
(1e-4 + 1e-3 · |expected| for float32). The speed-up is the module's own, eager over compiled, on one core.
"""


def write_document(rows: dict[str, Row], results: dict[str, Result]) -> None:
    FILE.write_text(document_text(rows, results))


def document_text(rows: dict[str, Row], results: dict[str, Result]) -> str:
    known = {name: row for name, row in rows.items() if name in results}
    waiting = [name for name in rows if name not in results]
    lines = [_HEAD, *_summary(known, results)]
    if waiting:
        lines += ["", f"Not run yet: {', '.join(waiting)}."]
    for kind, title in _KINDS.items():
        members = [row for row in known.values() if row.kind == kind]
        if members:
            lines += ["", f"## {title}", "", *_table(members, results)]
    return "\n".join(lines) + "\n"


def _summary(rows: dict[str, Row], results: dict[str, Result]) -> Iterator[str]:
    free = [name for name, row in rows.items() if row.stays_eager is None]
    bound = [name for name, row in rows.items() if row.stays_eager is not None]
    states = [results[name].state for name in free]
    compiled = states.count("compiled")
    speedups = [results[name].speedup or 1.0 for name in free if results[name].state == "compiled"]
    yield f"{len(rows)} rows; failed, or answered wrongly: {sum(results[name].state == 'failed' for name in rows)}."
    if free:
        yield (
            f"Of the {len(free)} that a graph can stand in for, {compiled} ({compiled / len(free):.0%}) have their "
            f"main module compiled, {statistics.geometric_mean(speedups or [1.0]):.1f}× as fast in the mean; "
            f"{states.count('equal, not faster')} are proven equal but not faster, {states.count('eager')} stay eager."
        )
    if bound:
        held = sum(_stays_as_it_must(rows[name], results[name]) for name in bound)
        yield f"Of the {len(bound)} in whose place a graph would answer wrongly, {held} stay eager for that reason."


def _stays_as_it_must(row: Row, result: Result) -> bool:
    return result.state == "eager" and row.stays_eager is not None and row.stays_eager in result.reason


def _table(rows: list[Row], results: dict[str, Result]) -> Iterator[str]:
    yield "| | what | result | speed-up | difference | of what is tolerated |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        result = results[row.name]
        state = result.state.partition(",")[0]
        parts = f"compiled beside it: {len(result.parts)} modules" if result.parts and state != "compiled" else ""
        why = [result.reason, parts]
        told = "; ".join(text.replace("|", "\\|") for text in why if text)
        speedup = f"{result.speedup:.2f}×" if result.speedup is not None and state != "failed" else ""
        yield (
            f"| {row.name} | {row.about} | **{state}**{': ' if told else ''}{told} | {speedup} "
            f"| {result.difference:.1e} | {100 * result.excess:.2g} % |"
        )
