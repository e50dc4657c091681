"""`generate()` through Hugging Face's own loop, with the encoder and the decoder's steps run by an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler import measure_latency, try_candidate
from cortex_compile.compiler.artifacts import Candidate
from cortex_compile.compiler.capture_modules import capture_modules
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.exchange import ExchangedCore, exchange_cores
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Manifest

USER_MODULE = ModuleType("cortex_predictor")
BEAMS = {"num_beams": 4, "length_penalty": 2.0, "max_length": 30, "no_repeat_ngram_size": 3}
GREEDY = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 0}


class Predictor:
    def __init__(self, model: Any) -> None:
        self.model = model


def bart() -> Any:
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=200,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        init_std=0.6,
        forced_eos_token_id=2,
    )
    return BartForConditionalGeneration(config).eval()


def gpt2() -> Any:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.5)
    return GPT2LMHeadModel(config).eval()


def inputs(count: int) -> Iterator[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for number in range(count):
        ids = torch.randint(3, 200, (1, 5 + number % 9), generator=generator)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def tokens_of(model: Any, count: int, **how: Any) -> list[list[int]]:
    found = []
    for each in inputs(count):
        torch.manual_seed(7)
        found.append(model.generate(**each, **how)[0].tolist())
    return found


def compile_model(predictor: Predictor, use: Callable[[], object], folder: Path) -> tuple[ExchangedCore, ...]:
    captured = capture_modules(predictor, USER_MODULE, folder, lambda: use() and None)
    cores = []
    for number, module in enumerate(captured):
        assert module.refused is None, f"{module.path}: {module.refused}"
        candidates = []
        for index, signature in enumerate(module.signatures.values()):
            place = f"candidate-{number}-{index}"
            attempt, variant = try_candidate.try_candidate(
                module,
                signature,
                f"v{index}",
                find_engine("onnxruntime"),
                folder / place,
                1,
                "again",
                lambda _: None,
                Tolerances(),
            )
            assert variant is not None, f"{module.path} v{index}: {attempt.reason}"
            candidates.append(Candidate(f"m{number}", f"v{index}", attempt, variant, place))
        cores.append(finish_core(module, f"m{number}", "onnxruntime", candidates, folder, 1))
    # All in one version folder, as a build has them.
    for core in cores:
        for file in core.folder.iterdir():
            (folder / f"{core.core.name}").mkdir(exist_ok=True)
            file.rename(folder / core.core.name / file.name)
    placed = tuple(
        replace(
            core.core,
            weights_file=f"{core.core.name}/{core.core.weights_file}",
            variants=tuple(
                replace(variant, graph=f"{core.core.name}/{variant.graph}") for variant in core.core.variants
            ),
        )
        for core in cores
    )
    manifest = Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), placed, {})
    return exchange_cores(predictor, USER_MODULE, manifest, folder, None)


@pytest.fixture(autouse=True)
def measured_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_latency, "WINDOW_S", 0.001)
    monkeypatch.setattr(try_candidate, "MINIMUM_SPEEDUP", 0.0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("make", "how", "others"),
    [
        (bart, BEAMS, ({**BEAMS, "max_length": 40}, {"num_beams": 1, "do_sample": False, "max_length": 30})),
        (gpt2, GREEDY, ({**GREEDY, "do_sample": True, "top_k": 20}, {**GREEDY, "max_new_tokens": 40})),
    ],
    ids=["bart", "gpt2"],
)
def test_token_for_token_what_eager_generates(make: Any, how: Any, others: Any, tmp_path: Path) -> None:
    predictor = Predictor(make())
    expected = [tokens_of(predictor.model, 20, **each) for each in (how, *others)]
    assert len({token for answer in expected[0] for token in answer}) >= 40
    assert len({tuple(answer) for answer in expected[0]}) == 20

    cores = compile_model(predictor, lambda: tokens_of(predictor.model, 2, **how), tmp_path)

    assert [core.state for core in cores] == ["compiled"] * len(cores), [core.reason for core in cores]
    assert tokens_of(predictor.model, 20, **how) == expected[0]
    assert all(core.counts.compiled for core in cores)
    # Nothing ran eager in what the samples showed: not the first step, nor a later one.
    assert [core.counts.eager for core in cores] == [{}] * len(cores)
    for each, answers in zip(others, expected[1:], strict=True):
        assert tokens_of(predictor.model, 20, **each) == answers


@pytest.mark.timeout(300)
def test_a_cache_held_by_the_caller_grows_in_place(tmp_path: Path) -> None:
    from transformers import DynamicCache

    predictor = Predictor(gpt2())
    ids = torch.randint(3, 200, (1, 6))

    def decode(model: Any) -> tuple[Any, torch.Tensor]:
        cache = DynamicCache()
        with torch.no_grad():
            for step in (ids[:, :4], ids[:, 4:5], ids[:, 5:6]):
                result = model(step, past_key_values=cache, use_cache=True)
                assert result.past_key_values is cache
        return cache, result.logits

    before, expected = decode(predictor.model)
    (core,) = compile_model(predictor, lambda: decode(predictor.model), tmp_path)
    assert core.state == "compiled", core.reason
    after, found = decode(predictor.model)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert after.get_seq_length() == before.get_seq_length() == 6
    assert (core.counts.compiled, core.counts.eager) == (3, {})
