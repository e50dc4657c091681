"""docs/gpu.md: how GPUs are shared, and what came of the check where one was run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .results import ModuleRow, Results

FILE = Path(__file__).parents[2] / "docs" / "gpu.md"

_TEXTS = Path(__file__).parent


def write_document(results: Results | None) -> None:
    FILE.write_text(document_text(results))


def document_text(results: Results | None) -> str:
    head = (_TEXTS / "schedule.md").read_text()
    if results is None:
        return f"{head}\n{(_TEXTS / 'nothing_was_run.md').read_text()}"
    return "\n".join([head, *_found(results)]) + "\n"


def _found(results: Results) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    yield "## On a GPU"
    yield ""
    yield f"`scripts/gpu_check`, {results.date}: {'; '.join(results.gpus)} (compute capability last). {versions}."
    if results.missing:
        yield ""
        yield "Not run, or not to the end:"
        yield ""
        yield from (f"- {what}: {why}" for what, why in results.missing.items())
    if results.modules:
        yield ""
        yield "Medians of milliseconds between two events on the device; the difference from the CPU's results in"
        yield "hundredths of what is tolerated (1e-4 + 1e-3 of the value), the worst over all batches."
        yield from _modules(results.modules)
    if results.examples:
        yield ""
        yield "| example | compiled modules on the GPU | samples | answers equal to the CPU's | worst difference |"
        yield "|---|---|---|---|---|"
        for example in results.examples:
            yield (
                f"| {example.example} | {example.compiled_modules} | {example.requests} | {example.equal} "
                f"| {example.worst:.1e} |"
            )
    for row in results.schedule:
        first, second = row.executions
        ratio = f"{first / second:.2f} to 1" if second else "no turn at all for the second"
        yield ""
        yield (
            f"Two APIs of priority {row.priorities[0]} and {row.priorities[1]}, both with requests waiting: "
            f"{first} and {second} executions, {ratio}."
        )


def _modules(rows: tuple[ModuleRow, ...]) -> Iterator[str]:
    for module, engine in dict.fromkeys((row.module, row.engine) for row in rows):
        ours = [row for row in rows if (row.module, row.engine) == (module, engine)]
        worst = max(row.excess for row in ours)
        yield ""
        yield f"{module}, {engine}; difference {100 * worst:.2g} %:"
        yield ""
        yield "| batch | eager ms | compiled ms | speed-up |"
        yield "|---|---|---|---|"
        for row in ours:
            speedup = f"{row.eager_ms / row.compiled_ms:.2f}×" if row.compiled_ms else ""
            yield f"| {row.batch} | {row.eager_ms:.3g} | {row.compiled_ms:.3g} | {speedup} |"
