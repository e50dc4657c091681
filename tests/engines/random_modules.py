"""Modules and calls of them that nobody thought of, for hypothesis to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import nn

WIDTH = 8
TOKENS = 11


@dataclass
class Output:
    result: torch.Tensor
    parts: list[torch.Tensor]
    loss: torch.Tensor | None = None


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = self.project(x).view(*x.shape[:2], 2, 3 * WIDTH // 2).transpose(1, 2).chunk(3, -1)
        scores = query @ key.transpose(-1, -2) / 2
        if mask is not None and mask.shape[1] == x.shape[1]:
            scores = scores.masked_fill(mask[:, None, None] == 0, -1e4)
        return x + (scores.softmax(-1) @ value).transpose(1, 2).reshape(x.shape)


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Lookup(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table(x.round().long().sum(-1) % WIDTH)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "norm": lambda: nn.LayerNorm(WIDTH),
    "gelu": nn.GELU,
    "attention": Attention,
    "convolution": Convolution,
    "lookup": Lookup,
}
STEPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "without the last": lambda x: x[:, :-1] if x.shape[1] > 1 else x,
    "every other": lambda x: x[:, ::2],
    "groups": lambda x: x.view(x.shape[0], x.shape[1], 2, WIDTH // 2).flip(2).flatten(2),
    "sums": lambda x: x.cumsum(1) / 4,
    "middle": lambda x: x - x.mean(1, keepdim=True),
    "rows": lambda x: x + x.mean(0, keepdim=True),
    "longest": lambda x: torch.cat([x, x.amax(1, keepdim=True)], 1),
    "signs": lambda x: torch.where(x > 0, x, -0.1 * x),
    "sorted": lambda x: x.sort(-1).values,
    "branch": lambda x: x * 2 if x.sum() > 0 else x,
}
RESULTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda x: x,
    "pooled": lambda x: x.mean(1),
    "tuple": lambda x: (x, None, x.argmax(-1)),
    "dict": lambda x: {"states": x, "more": [x[:, 0] * 2, 3]},
    "dataclass": lambda x: Output(x.sum(1), [x, x.abs()]),
    "named tuple": lambda x: Pair(x, x.amax(1)),
}


class Composed(nn.Module):
    """Layers and steps one after the other; ``scale`` is a Python number, ``mask`` may be left out."""

    def __init__(self, plan: Sequence[str], result: str, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.plan = tuple(plan)
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.layers = nn.ModuleDict({str(at): LAYERS[name]() for at, name in enumerate(plan) if name in LAYERS})
        self.result = result

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None, scale: float = 1.0) -> Any:
        x = self.embed(ids)
        if mask is not None:
            x = x * mask[..., None]
        for at, name in enumerate(self.plan):
            if name == "attention":
                x = self.layers[str(at)](x, mask)
            else:
                x = STEPS[name](x) if name in STEPS else self.layers[str(at)](x)
        return RESULTS[self.result](x * scale)


@dataclass(frozen=True)
class Call:
    batch: int
    length: int
    masked: bool
    scale: float
    by_keyword: bool

    def __call__(self, net: Any, seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(TOKENS, (self.batch, self.length), generator=generator)
        mask = (torch.rand(ids.shape, generator=generator) > 0.3).long() if self.masked else None
        if self.by_keyword:
            return net(scale=self.scale, mask=mask, ids=ids)
        return net(ids) if mask is None and self.scale == 1.0 else net(ids, mask, self.scale)


modules = st.builds(
    Composed,
    st.lists(st.sampled_from([*LAYERS, *STEPS]), min_size=1, max_size=5),
    st.sampled_from(sorted(RESULTS)),
    st.integers(0, 9),
)
samples = st.lists(
    st.builds(Call, st.integers(1, 3), st.integers(1, 6), st.booleans(), st.sampled_from([1.0, 0.5]), st.booleans()),
    min_size=1,
    max_size=2,
)
unseen = st.lists(
    st.builds(
        Call, st.integers(1, 5), st.integers(1, 12), st.booleans(), st.sampled_from([1.0, 0.5, 2]), st.booleans()
    ),
    min_size=8,
    max_size=12,
)
