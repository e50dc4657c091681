"""Which engine runs each module: a pure function of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler.artifacts import (
    Attempt,
    Candidate,
    Choice,
    ChosenCore,
    CompileSettings,
    ModuleRecord,
    Project,
    Trial,
    label_of,
)
from cortex_compile.compiler.choose_shared_run import choose_shared_run
from cortex_compile.compiler.config_pbtxt import why_not_remote
from cortex_compile.compiler.engine_cost import compiled_ms, cost_ms, simplest_of_the_quickest, speedup_of
from cortex_compile.python_backend.manifest import Core, Placement


def choose_engines(trial: Trial, project: Project) -> tuple[Choice, ...]:
    """For each module the engine with the least time over all recorded calls, eager among them."""
    return tuple(_choose(module, trial, project) for module in trial.modules)


def _choose(module: ModuleRecord, trial: Trial, project: Project) -> Choice:
    candidates = [candidate for candidate in trial.candidates if candidate.module == module.name]
    cores = {_label(core): core for core in trial.cores if core.core.name == module.name}
    reduced = _of_precision(module, candidates, project.settings)
    if not cores:
        return Choice(module.name, "eager", "local", _why_eager(module, candidates, project) + reduced, None)
    labels = ("eager", *cores)
    objective = project.settings.objective
    batches = project.server_side_batching is not None
    costs = {label: cost_ms(module, candidates, label, objective, batches) for label in labels}
    kinds = {label: (core.core.engine, core.core.precision) for label, core in cores.items()}
    label = simplest_of_the_quickest(costs, {**kinds, "eager": ("eager", "fp32")})
    if label == "eager":
        best = min(cores, key=lambda label: costs[label])
        words = f"stays eager: for {objective}, {best} is {costs['eager'] / costs[best]:.2f}× as fast"
        return Choice(module.name, "eager", "local", words + reduced, None)
    chosen = cores[label]
    used = [each.attempt for each in candidates if each.attempt.label == label and each.variant is not None]
    speedup = statistics.geometric_mean([speedup_of(attempt) for attempt in used])
    placement, note = _placement(chosen.core, project)
    # A local core may be tried as a remote one later.
    chosen, of_buckets = _with_buckets(chosen, project.settings.buckets)
    note = of_buckets if placement == "remote" else note
    left = len(module.signatures) - len(chosen.core.variants)
    eager_note = f"; {left} of {len(module.signatures)} ways of calling it stay eager" if left else ""
    kind = chosen.core.engine if chosen.core.precision == "fp32" else f"{chosen.core.engine}, {chosen.core.precision}"
    reason = f"runs on {kind} ({placement}), {speedup:.2f}× as fast as eager{note}{eager_note}"
    if chosen.core.precision == "fp32":
        reason += reduced
    call_ms = min((each.compiled_p50_ms for attempt in used for each in attempt.measurements), default=0.0)
    tried = [each for each in candidates if each.attempt.label == label]
    shared = choose_shared_run(tried, chosen.core.engine, project.settings)
    calls_ms = round(compiled_ms(module, tried), 3)
    served = replace(chosen.core, placement=placement, call_ms=call_ms, calls_ms=calls_ms, shared_run=shared)
    if placement == "remote":
        settings = project.settings
        served = replace(served, instances=settings.instances or 1, max_batch=settings.max_batch)
    core = replace(chosen, core=served)
    return Choice(module.name, chosen.core.engine, placement, reason, core)


def without_reduced_precision(trial: Trial, reason: str) -> Trial:
    """The trial with every candidate of less than fp32 refused in the rehearsal, for ``reason``."""
    candidates = tuple(
        replace(each, variant=None, attempt=replace(each.attempt, refused_at="rehearse", reason=reason))
        if each.attempt.precision != "fp32" and each.variant is not None
        else each
        for each in trial.candidates
    )
    cores = tuple(core for core in trial.cores if core.core.precision == "fp32")
    return replace(trial, candidates=candidates, cores=cores)


def _label(core: ChosenCore) -> str:
    return label_of(core.core.engine, core.core.precision)


def _of_precision(module: ModuleRecord, candidates: Sequence[Candidate], settings: CompileSettings) -> str:
    """Why the precision that was asked for is not used, with the numbers, or ""."""
    wanted = settings.precision
    if wanted == "fp32" or module.refused is not None:
        return ""
    tried = [each.attempt for each in candidates if each.attempt.precision == wanted]
    if not tried:
        return f"; {wanted} was not tried"
    refused = [attempt for attempt in tried if attempt.refused_at is not None]
    if refused:
        return f"; {wanted} is not used: it {_words(refused[0])}"
    speedup = statistics.geometric_mean([speedup_of(attempt) for attempt in tried])
    return f"; {wanted} is not used: it is not faster than that ({speedup:.2f}× as fast as eager)"


def _why_eager(module: ModuleRecord, candidates: Sequence[Candidate], project: Project) -> str:
    if module.refused is not None:
        return f"stays eager: {module.refused}"
    refused = [candidate.attempt for candidate in candidates if candidate.attempt.refused_at is not None]
    if refused:
        return f"stays eager: {_words(refused[0])}"
    return f"stays eager: no engine but eager was asked for ({', '.join(project.settings.engines)})"


def _words(attempt: Attempt) -> str:
    if attempt.refused_at == "measure":
        return f"is {attempt.reason}" if attempt.measurements else f"cannot be measured: {attempt.reason}"
    stages = {"export": "cannot be exported", "verify": "is not proven equal", "rehearse": "did not pass the rehearsal"}
    return f"{stages[attempt.refused_at or '']}: {attempt.reason}"


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
