"""docs/chaos.md, made of the faults and of what came of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.ownership.results import Proof, read_proof
from benchmarks.soak.results import Soak, read_soak

from .results import read_rows
from .stage import Fault, Row

__all__ = ["FILE", "document_text", "write_document"]

FILE = Path(__file__).parents[2] / "docs" / "chaos.md"

_HEAD = """# Faults

`make chaos` breaks a running `cortex-compile serve` in each of these ways while clients send requests that each have
an answer of their own, and wrote this page. **wrong** is another answer than the request's own, or an error that is not
the one expected; **lost** is no answer; **cut** is a connection that ended with the process that it led to, in the
moment of the fault. The run fails when a request is wrong or lost, or when a limit is broken. Rows of a container are
played by `scripts/chaos --container`, on a real Docker engine and the tests' stand-in for Triton's image.
"""


def write_document(faults: Mapping[str, Fault]) -> None:
    """Of all the results that there are."""
    FILE.write_text(document_text(faults, read_rows(), read_proof(), read_soak()))


def document_text(faults: Mapping[str, Fault], rows: Mapping[str, Row], proof: Proof | None, soak: Soak | None) -> str:
    played = {name: rows[name] for name in faults if name in rows}
    waiting = [name for name in faults if name not in rows]
    held = sum(row.held for row in played.values() if not row.skipped)
    skipped = sum(bool(row.skipped) for row in played.values())
    lines = [_HEAD, f"{len(played)} faults: {held} held, {len(played) - held - skipped} not, {skipped} skipped."]
    if waiting:
        lines.append(f"\nNot played yet: {', '.join(waiting)}.")
    lines += ["", "| fault | requests | right | error | wrong | lost | cut | healthy after |", "|---" * 8 + "|"]
    lines += [_table_line(row) for row in played.values()]
    for name, row in played.items():
        lines += ["", *_section(faults[name], row)]
    return "\n".join([*lines, *_ownership(proof), *_soak(soak)]) + "\n"


def _ownership(proof: Proof | None) -> Iterator[str]:
    yield from ("", "## Every answer is its own request's", "")
    yield "`python -m benchmarks.ownership`: requests that each have an answer of their own, some of them delayed, some"
    yield "raising, some malformed, some left by their client, through shared calls, on a local and on a remote core."
    if proof is not None:
        yield (
            f"Of {proof.requests:,} requests of {proof.clients} clients {proof.answered:,} were answered and "
            f"{proof.left:,} left by their client; {proof.wrong} got another's answer, {proof.lost} got none."
        )


def _soak(soak: Soak | None) -> Iterator[str]:
    yield from ("", "## Soak", "")
    yield "`make soak`: mixed load on builds of two examples and of the predictor of this page, every answer checked;"
    yield "what all processes of the server hold, in the last quarter of the time against the first after warming up."
    yield "Then the fuzzers, with 100,000 examples each."
    if soak is not None:
        yield (
            f"{soak.seconds / 60:.0f} minutes, {soak.requests:,} requests: {len(soak.wrong)} wrong, "
            f"{len(soak.lost)} lost."
        )
        yield from ("", "| | growth |", "|---|---|")
        yield from (f"| {what} | {100 * growth:+.2f} % |" for what, growth in soak.growth.items())


def _table_line(row: Row) -> str:
    if row.skipped:
        return f"| {row.name} | skipped: {row.skipped} | | | | | | |"
    after = "" if row.healthy_s is None else f"{row.healthy_s:.2f} s"
    counts = (row.requests, row.right, row.errors, row.wrong, row.lost, row.cut)
    return f"| {row.name} | {' | '.join(map(str, counts))} | {after} |"


def _section(fault: Fault, row: Row) -> Iterator[str]:
    yield f"## {fault.name}"
    yield ""
    yield f"{fault.breaks[0].upper()}{fault.breaks[1:]}. What must hold: {fault.holds}."
    yield ""
    if row.skipped:
        yield f"Skipped: {row.skipped}."
    for check in row.checks:
        yield f"- {'held' if check.holds else '**broken**'}: {check.what}: {check.found}"
