"""Which engine runs each module: a pure function of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import Attempt, Candidate, Choice, ChosenCore, ModuleRecord, Project, Trial
from cortex_compile.compiler.config_pbtxt import why_not_remote
from cortex_compile.python_backend.manifest import Core, Placement


def choose_engines(trial: Trial, project: Project) -> tuple[Choice, ...]:
    """For each module the engine with the least time over all recorded calls; calls it refused cost eager's time."""
    return tuple(_choose(module, trial, project) for module in trial.modules)


def _choose(module: ModuleRecord, trial: Trial, project: Project) -> Choice:
    candidates = [candidate for candidate in trial.candidates if candidate.module == module.name]
    cores = [core for core in trial.cores if core.core.name == module.name]
    if not cores:
        return Choice(module.name, "eager", "local", _why_eager(module, candidates, project), None)
    chosen = min(cores, key=lambda core: _cost_ms(module, candidates, core.core.engine))
    attempts = [candidate.attempt for candidate in candidates if _is_used(candidate, chosen)]
    speedup = statistics.geometric_mean(
        [measurement.speedup for attempt in attempts for measurement in attempt.measurements]
    )
    placement, note = _placement(chosen.core, project)
    if placement == "remote":
        chosen, note = _with_buckets(chosen, project.settings.buckets)
    left = len(module.signatures) - len(chosen.core.variants)
    eager_note = f"; {left} of {len(module.signatures)} ways of calling it stay eager" if left else ""
    reason = f"runs on {chosen.core.engine} ({placement}), {speedup:.2f}× as fast as eager{note}{eager_note}"
    core = replace(chosen, core=replace(chosen.core, placement=placement))
    return Choice(module.name, chosen.core.engine, placement, reason, core)


def _is_used(candidate: Candidate, chosen: ChosenCore) -> bool:
    return candidate.attempt.engine == chosen.core.engine and candidate.variant is not None


def _cost_ms(module: ModuleRecord, candidates: Sequence[Candidate], engine: str) -> float:
    cost = 0.0
    for signature in module.signatures:
        tried = [candidate for candidate in candidates if candidate.variant_name == signature.variant]
        eager = [measured.eager_p50_ms for candidate in tried for measured in candidate.attempt.measurements]
        mine = [
            measured.compiled_p50_ms
            for candidate in tried
            if candidate.attempt.engine == engine and candidate.variant is not None
            for measured in candidate.attempt.measurements
        ]
        times = mine or eager
        if times:
            cost += signature.count * statistics.mean(times)
    return cost


def _why_eager(module: ModuleRecord, candidates: Sequence[Candidate], project: Project) -> str:
    if module.refused is not None:
        return f"stays eager: {module.refused}"
    refused = [candidate.attempt for candidate in candidates if candidate.attempt.refused_at is not None]
    if refused:
        return f"stays eager: {_words(refused[0])}"
    return f"stays eager: no engine but eager was asked for ({', '.join(project.settings.engines)})"


def _words(attempt: Attempt) -> str:
    stage = {"export": "cannot be exported", "verify": "is not proven equal", "measure": "is"}[attempt.refused_at or ""]
    return f"{stage} {attempt.reason}" if attempt.refused_at == "measure" else f"{stage}: {attempt.reason}"


def _with_buckets(chosen: ChosenCore, given: tuple[int, ...]) -> tuple[ChosenCore, str]:
    """The core with the buckets that it is served with, and what there is to say of them."""
    variants = []
    used: set[int] = set()
    for variant in chosen.core.variants:
        paddings = tuple(
            replace(spec, buckets=tuple(size for size in given if size <= spec.largest)) if given else spec
            for spec in variant.paddings
        )
        used |= {size for spec in paddings for size in spec.buckets if variant.batch_dimension is not None}
        variants.append(replace(variant, paddings=paddings))
    left_out = sorted(set(given) - used)
    note = f", its calls filled up to {_list(sorted(used))} to share batches" if used else ""
    if left_out:
        note += f" (of compile.buckets, {_list(left_out)}: not proven to be harmless)"
    return replace(chosen, core=replace(chosen.core, variants=tuple(variants))), note


def _list(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


def _placement(core: Core, project: Project) -> tuple[Placement, str]:
    """Local unless asked otherwise: a call through Triton costs half a millisecond, which only batches earn back."""
    if project.settings.placement != "remote":
        return "local", ""
    if any(variant.result_caches for variant in core.variants):
        return "local", " (not remote: it is called for every token, and each call through Triton costs half a ms)"
    if find_engine(core.engine).triton_settings(core.threads) is None:
        return "local", f" (not remote: {core.engine} runs in the predictor's process only)"
    for variant in core.variants:
        problem = why_not_remote(variant)
        if problem is not None:
            return "local", f" (not remote: {problem})"
    return "remote", ""
