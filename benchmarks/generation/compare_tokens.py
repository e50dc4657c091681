"""Tokens that eager and compiled generated on the same inputs: equal, excused, or different."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

# In log-probability, by eager's own account: what it holds for equally good up to rounding it may choose either way.
SCORE_TOLERANCE = 1e-3

Outcome = Literal["equal", "excused", "different"]


@dataclass(frozen=True)
class Generated:
    """One answer. ``tokens`` are the new ones; with an encoder, the first is what decoding starts from."""

    asked: torch.Tensor
    tokens: list[int]


def compare(eager: Any, expected: Generated, found: Generated, how: dict[str, Any]) -> Outcome:
    if expected.tokens == found.tokens:
        return "equal"
    if how.get("num_beams", 1) > 1:
        penalty = how.get("length_penalty", 1.0)
        gap = abs(_beam_score(eager, expected, penalty) - _beam_score(eager, found, penalty))
    else:
        first = _first_difference(expected.tokens, found.tokens)
        if first is None:
            return "different"
        gap = abs(_log_probabilities(eager, expected)[first] - _log_probabilities(eager, found)[first])
    return "excused" if gap <= SCORE_TOLERANCE else "different"


def _first_difference(mine: Sequence[int], theirs: Sequence[int]) -> int | None:
    pairs = zip(mine, theirs, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), None)


def _beam_score(eager: Any, generated: Generated, length_penalty: float) -> float:
    scores = _log_probabilities(eager, generated)[1:] if eager.config.is_encoder_decoder else None
    scores = _log_probabilities(eager, generated) if scores is None else scores
    return sum(scores) / len(scores) ** length_penalty


@torch.no_grad()
def _log_probabilities(eager: Any, generated: Generated) -> list[float]:
    """What eager gives to each token, the ones before it being given; 0 for the one that decoding starts from."""
    tokens = torch.tensor([generated.tokens])
    if eager.config.is_encoder_decoder:
        logits = eager(input_ids=generated.asked, decoder_input_ids=tokens[:, :-1]).logits
        chosen = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])
        return [0.0, *chosen[0, :, 0].tolist()]
    whole = torch.cat([generated.asked, tokens], dim=1)
    logits = eager(input_ids=whole[:, :-1]).logits[:, generated.asked.shape[1] - 1 :]
    return list(logits.log_softmax(-1).gather(-1, tokens[..., None])[0, :, 0].tolist())
