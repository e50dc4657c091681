"""``python -m benchmarks.generation``: tokens each second, eager and compiled, and whether they are the same tokens.

Each model is compiled by the command, as a user would, and its build is read by the runtime that serves it. Writes
benchmarks/results/generation.json and the figures in docs/generation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import yaml

from cortex_compile.python_backend.exchange import exchange_cores
from cortex_compile.python_backend.manifest import read_manifest

from .compare_tokens import Generated, compare
from .document import write_document
from .project.models import EOS, MODELS, VOCABULARY, make_model
from .results import Row, read_results, write_rows

HERE = Path(__file__).parent
INPUTS = 20
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False, "no_repeat_ngram_size": 2, "max_new_tokens": 48},
    "beams": {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "max_length": 142, "min_length": 56},
}
# A decoder's prompt counts as part of its answer's length.
LENGTHS = ("max_length", "min_length")
DECODER_TOKENS = 64
COLUMNS = "{:8}{:8}{:>9}{:>12}{:>7}{:>7}{:>9}{:>11}"


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = [12 + number * 97 % 180 for number in range(INPUTS)]
    return [torch.randint(EOS + 1, VOCABULARY, (1, length), generator=generator) for length in lengths]


def how_to_generate(model: Any, way: str) -> dict[str, Any]:
    if model.config.is_encoder_decoder or "max_length" not in WAYS[way]:
        return WAYS[way]
    kept = {name: value for name, value in WAYS[way].items() if name not in LENGTHS}
    return {**kept, "max_new_tokens": DECODER_TOKENS}


def compile_model(name: str, folder: Path) -> Path:
    """The build's folder. One that is there is taken as it is."""
    build = folder / "build"
    if build.is_dir():
        return build
    shutil.copytree(HERE / "project", folder)
    for number, ids in enumerate(inputs()[:2]):
        for way in WAYS:
            how = how_to_generate(make_model(name), way)
            (folder / f"sample-{way}-{number}.json").write_text(json.dumps({"ids": ids[0].tolist(), "how": how}))
    api = {"name": name, "kind": "RealtimeAPI", "predictor": {"type": "python", "path": "predictor.py"}}
    api["predictor"]["config"] = {"model": name}  # type: ignore[index]
    (folder / "cortex.yaml").write_text(yaml.safe_dump([api]))
    command = [sys.executable, "-m", "cortex_compile", "compile", "predictor.py", "--output", str(build)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return build


def generate(model: Any, asked: list[torch.Tensor], how: dict[str, Any]) -> tuple[list[Generated], float]:
    """The answers, and the seconds they took."""
    found = []
    started = time.perf_counter()
    for ids in asked:
        with torch.no_grad():
            tokens = model.generate(ids, attention_mask=torch.ones_like(ids), **how)[0].tolist()
        found.append(Generated(ids, tokens if model.config.is_encoder_decoder else tokens[ids.shape[1] :]))
    return found, time.perf_counter() - started


def measure(name: str, build: Path, repeats: int) -> list[Row]:
    manifest = read_manifest(build / "manifest.json")
    eager, predictor = make_model(name), SimpleNamespace(model=make_model(name))
    folder = build / "model_repository" / manifest.name / "1"
    cores = exchange_cores(predictor, ModuleType("none"), manifest, folder, None)
    for core in cores:
        if core.state != "compiled":
            raise SystemExit(f"{name}: {core.path} stays eager: {core.reason}")
    return [_measure_way(name, way, eager, predictor.model, cores, repeats) for way in WAYS]


def _measure_way(name: str, way: str, eager: Any, compiled: Any, cores: Any, repeats: int) -> Row:
    how, asked = how_to_generate(eager, way), inputs()
    for model in (eager, compiled):
        generate(model, asked[:1], how)
    before = sum(sum(core.counts.eager.values()) for core in cores)
    ratios, eager_rates, compiled_rates = [], [], []
    for _ in range(repeats):  # in turn, so that a machine that slows down slows both
        expected, eager_s = generate(eager, asked, how)
        found, compiled_s = generate(compiled, asked, how)
        eager_rates.append(sum(len(each.tokens) for each in expected) / eager_s)
        compiled_rates.append(sum(len(each.tokens) for each in found) / compiled_s)
        ratios.append(compiled_rates[-1] / eager_rates[-1])
    outcomes = Counter(compare(eager, mine, theirs, how) for mine, theirs in zip(expected, found, strict=True))
    return Row(
        model=name,
        way=way,
        eager_tokens_s=round(statistics.median(eager_rates), 1),
        compiled_tokens_s=round(statistics.median(compiled_rates), 1),
        ratio=round(statistics.median(ratios), 3),
        equal=outcomes["equal"],
        excused=outcomes["excused"],
        different=outcomes["different"],
        distinct_tokens=len({token for each in expected for token in each.tokens}),
        distinct_outputs=len({tuple(each.tokens) for each in expected}),
        ran_eager=sum(sum(core.counts.eager.values()) for core in cores) - before,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    parser.add_argument("--only", action="append", choices=MODELS, help="this model alone; may repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--builds", type=Path, help="keep the builds here, and do not compile again what is here")
    asked = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = []
    print(COLUMNS.format("model", "way", "eager/s", "compiled/s", "ratio", "equal", "excused", "different"))
    with tempfile.TemporaryDirectory(prefix="generation-") as work:
        for name in asked.only or MODELS:
            found = measure(name, compile_model(name, (asked.builds or Path(work)) / name), asked.repeats)
            write_rows(found)
            write_document(read_results())
            for row in found:
                shown = row.model, row.way, row.eager_tokens_s, row.compiled_tokens_s, row.ratio
                print(COLUMNS.format(*shown, row.equal, row.excused, row.different), flush=True)
            rows += found
    sys.exit(any(row.different for row in rows))


if __name__ == "__main__":
    main()
