"""The figures in docs/generation.md, made of the results."""

from __future__ import annotations

from pathlib import Path

from .results import Results

FILE = Path(__file__).parents[2] / "docs" / "generation.md"
BEGIN, END = "<!-- figures: made by python -m benchmarks.generation -->", "<!-- end of figures -->"

_NAMES = {
    "bart": "BART-like, 6+6 layers of 256",
    "t5": "T5-like",
    "gpt2": "GPT-2-like",
    "llama": "Llama-like",
}


def write_document(results: Results) -> None:
    before, rest = FILE.read_text().split(BEGIN)
    FILE.write_text(f"{before}{BEGIN}\n\n{figures(results)}\n\n{END}{rest.split(END)[1]}")


def figures(results: Results) -> str:
    machine = results.machine
    lines = [
        f"{machine['cores']} cores, torch {machine['torch']}, transformers {machine['transformers']}, "
        f"ONNX Runtime {machine['onnxruntime']}; all float32.",
        "",
        "| model | way | eager, tokens a second | compiled | ratio | the same tokens | excused | different |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results.rows:
        asked = row.equal + row.excused + row.different
        cells = _NAMES[row.model], row.way, f"{row.eager_tokens_s:.0f}", f"{row.compiled_tokens_s:.0f}"
        equality = f"{row.equal} of {asked}", row.excused, row.different
        lines.append(f"| {' | '.join(map(str, (*cells, f'{row.ratio:.2f}×', *equality)))} |")
    return "\n".join(lines)
