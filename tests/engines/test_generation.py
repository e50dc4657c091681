"""`generate()` through Hugging Face's own loop, with the encoder and the decoder's steps run by an engine."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    StoppingCriteriaList,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.generation.streamers import BaseStreamer

from cortex_compile.backends.registry import find_engine
from cortex_compile.compiler import measure_candidate, measure_latency, try_candidate
from cortex_compile.compiler.artifacts import Candidate
from cortex_compile.compiler.capture_modules import capture_modules
from cortex_compile.compiler.finish_core import finish_core
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.exchange import CallRemote, ExchangedCore, exchange_cores
from cortex_compile.python_backend.manifest import MANIFEST_VERSION, Core, Manifest

USER_MODULE = ModuleType("cortex_predictor")
# No token twice: a tiny model would repeat a few, whatever it was asked.
GREEDY = {"do_sample": False, "max_new_tokens": 12, "no_repeat_ngram_size": 1}
BEAMS = {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "max_new_tokens": 14}
SAMPLED = {"do_sample": True, "top_k": 20, "max_new_tokens": 12}


class Predictor:
    def __init__(self, model: Any) -> None:
        self.model = model


# Weights far from zero, for the same reason.
def bart() -> Any:
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
    return BartForConditionalGeneration(config)


def t5() -> Any:
    config = T5Config(
        vocab_size=200,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        initializer_factor=3.0,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    return T5ForConditionalGeneration(config)


def gpt2() -> Any:
    config = GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.5)
    return GPT2LMHeadModel(config)


def llama() -> Any:
    config = LlamaConfig(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config)


def inputs(count: int) -> Iterator[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for number in range(count):
        ids = torch.randint(3, 200, (1, 5 + number % 9), generator=generator)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def tokens_of(model: Any, count: int, **how: Any) -> list[list[int]]:
    """What is new, whether or not the model repeats what it was asked."""
    found = []
    for each in inputs(count):
        torch.manual_seed(7)
        answer = model.generate(**each, pad_token_id=0, **how)[0].tolist()
        found.append(answer if model.config.is_encoder_decoder else answer[each["input_ids"].shape[1] :])
    return found


def compile_model(predictor: Predictor, use: Callable[[], object], folder: Path) -> Manifest:
    """The manifest of a build whose version folder is ``folder``."""
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
        chosen = finish_core(module, f"m{number}", "onnxruntime", candidates, folder, 1)
        chosen.folder.rename(folder / chosen.core.name)
        cores.append(_placed(chosen.core))
    return Manifest(MANIFEST_VERSION, "api", "/api", "p.py", {}, {}, None, "info", 1, 1, 1, (), tuple(cores), {})


def _placed(core: Core) -> Core:
    variants = tuple(replace(variant, graph=f"{core.name}/{variant.graph}") for variant in core.variants)
    return replace(core, weights_file=f"{core.name}/{core.weights_file}", variants=variants)


@pytest.fixture(autouse=True, scope="module")
def measured_in_a_moment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_latency, "WINDOW_S", 0.001)
        patch.setattr(measure_candidate, "MINIMUM_SPEEDUP", 0.0)
        yield


@dataclass(frozen=True)
class Pair:
    """A model as it was, and one with the same weights that was exchanged."""

    eager: Any
    compiled: Any
    cores: tuple[ExchangedCore, ...]
    manifest: Manifest
    folder: Path


@pytest.fixture(scope="module", params=[bart, t5, gpt2, llama], ids=lambda make: make.__name__)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    torch.manual_seed(0)
    eager = request.param().eval()
    predictor = Predictor(copy.deepcopy(eager))
    folder = tmp_path_factory.mktemp(request.param.__name__)
    # Greedy is shown alone. Beams, samples and batches are other sizes of the same calls.
    manifest = compile_model(predictor, lambda: tokens_of(predictor.model, 2, **GREEDY), folder)
    cores = exchange_cores(predictor, USER_MODULE, manifest, folder, None)
    assert [core.state for core in cores] == ["compiled"] * len(cores), [core.reason for core in cores]
    return Pair(eager, predictor.model, cores, manifest, folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_token_for_token_what_eager_generates(pair: Pair, how: dict[str, Any]) -> None:
    expected = tokens_of(pair.eager, 20, **how)
    assert len({token for answer in expected for token in answer}) >= (40 if how is GREEDY else 25)
    assert len({tuple(answer) for answer in expected}) == 20
    before = pair.cores[-1].counts.compiled

    assert tokens_of(pair.compiled, 20, **how) == expected

    # Nothing ran eager: not the encoder, not the first step, nor a later one.
    assert [core.counts.eager for core in pair.cores] == [{}] * len(pair.cores)
    assert pair.cores[-1].counts.compiled - before >= sum(len(answer) - 1 for answer in expected)


@pytest.mark.timeout(300)
def test_the_same_samples_under_a_seed(pair: Pair) -> None:
    expected = tokens_of(pair.eager, 6, **SAMPLED)
    assert expected != tokens_of(pair.eager, 6, **GREEDY)
    assert tokens_of(pair.compiled, 6, **SAMPLED) == expected


@pytest.mark.timeout(300)
def test_stops_where_eager_stops(pair: Pair) -> None:
    def seen_enough(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return ids[:, -1] % 5 == 0

    how = {**GREEDY, "stopping_criteria": StoppingCriteriaList([seen_enough])}
    expected = tokens_of(pair.eager, 4, **how)
    assert expected != tokens_of(pair.eager, 4, **GREEDY)
    assert tokens_of(pair.compiled, 4, **how) == expected


class Tokens(BaseStreamer):
    """Hands tokens from the thread that generates to the one that reads, as TextIteratorStreamer does with text."""

    def __init__(self) -> None:
        self._queue = queue.Queue[Any]()

    def put(self, value: torch.Tensor) -> None:
        self._queue.put(value.tolist())

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(lambda: self._queue.get(timeout=60), None)


@pytest.mark.timeout(300)
def test_streams_what_eager_streams(pair: Pair) -> None:
    def streamed(model: Any) -> list[Any]:
        streamer = Tokens()
        (asked,) = inputs(1)
        how = {**asked, **GREEDY, "pad_token_id": 0, "streamer": streamer}
        thread = threading.Thread(target=model.generate, kwargs=how)
        thread.start()
        found = list(streamer)
        thread.join()
        return found

    expected = streamed(pair.eager)
    assert len(expected) > 5
    assert streamed(pair.compiled) == expected


@pytest.mark.timeout(300)
def test_a_batch_of_unlike_lengths(pair: Pair) -> None:
    left = not pair.eager.config.is_encoder_decoder
    asked = [each["input_ids"][0] for each in inputs(3)]
    longest = max(map(len, asked))
    ids, mask = torch.zeros(3, longest, dtype=torch.int64), torch.zeros(3, longest, dtype=torch.int64)
    for row, each in enumerate(asked):
        place = slice(longest - len(each), longest) if left else slice(0, len(each))
        ids[row, place], mask[row, place] = each, 1
    how = {"input_ids": ids, "attention_mask": mask, "pad_token_id": 0, **GREEDY}
    expected = pair.eager.generate(**how)
    assert torch.equal(pair.compiled.generate(**how), expected)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", [bart], indirect=True, ids=["bart"])
def test_the_encoder_is_remote_while_steps_are_local(pair: Pair) -> None:
    encoder, decoder = pair.manifest.cores
    assert not any(variant.result_caches for variant in encoder.variants)
    graphs = {
        f"api--encoder-{variant.name}": find_engine("onnxruntime").open_session(pair.folder / variant.graph, 1)
        for variant in encoder.variants
    }
    names = {f"api--encoder-{variant.name}": [each.name for each in variant.inputs] for variant in encoder.variants}
    called: list[str] = []

    def triton(model: str, tensors: dict[str, Any], outputs: tuple[str, ...]) -> list[Any]:
        called.append(model)
        return graphs[model].run([tensors[name] for name in names[model]])

    remote: CallRemote = triton
    variants = tuple(replace(variant, graph=f"api--encoder-{variant.name}") for variant in encoder.variants)
    cores = (replace(encoder, placement="remote", variants=variants), decoder)
    predictor = Predictor(copy.deepcopy(pair.eager))
    exchanged = exchange_cores(predictor, USER_MODULE, replace(pair.manifest, cores=cores), pair.folder, remote)
    assert [core.state for core in exchanged] == ["compiled", "compiled"]
    assert tokens_of(predictor.model, 3, **BEAMS) == tokens_of(pair.eager, 3, **BEAMS)
    assert len(called) == 3  # once a generation, and never for a token
    assert [core.counts.eager for core in exchanged] == [{}, {}]


@pytest.mark.timeout(300)
def test_a_cache_held_by_the_caller_grows_in_place(tmp_path: Path) -> None:
    from transformers import DynamicCache

    torch.manual_seed(0)
    predictor = Predictor(gpt2().eval())
    ids = torch.randint(3, 200, (1, 6))

    def decode(model: Any) -> tuple[Any, torch.Tensor]:
        cache = DynamicCache()
        with torch.no_grad():
            for step in (ids[:, :4], ids[:, 4:5], ids[:, 5:6]):
                result = model(step, past_key_values=cache, use_cache=True)
                assert result.past_key_values is cache
        return cache, result.logits

    before, expected = decode(predictor.model)
    manifest = compile_model(predictor, lambda: decode(predictor.model), tmp_path)
    (core,) = exchange_cores(predictor, USER_MODULE, manifest, tmp_path, None)
    assert core.state == "compiled", core.reason
    after, found = decode(predictor.model)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert after.get_seq_length() == before.get_seq_length() == 6
    assert (core.counts.compiled, core.counts.eager) == (3, {})
