"""A dataclass of the author's own in, a named tuple inside another dataclass out."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from zoo_inputs import make_stack, summary


@dataclass
class Batch:
    values: torch.Tensor
    mask: torch.Tensor | None = None


class Scores(NamedTuple):
    logits: torch.Tensor
    best: torch.Tensor


@dataclass(frozen=True)
class Output:
    scores: Scores
    hidden: list[torch.Tensor]
    loss: torch.Tensor | None = None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(make_stack(16, 16, 8) for _ in range(3))
        self.head = nn.Linear(16, 5)

    def forward(self, batch):
        x, hidden = batch.values, []
        for layer in self.layers:
            x = x + layer(x)
            hidden.append(x)
        logits = self.head(x)
        return Output(Scores(logits, logits.argmax(-1)), hidden)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Net().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        with torch.no_grad():
            output = self.net(Batch(torch.randn(payload["batch"], 16)))
        assert type(output) is Output
        assert output.loss is None
        return [output.scores.logits, output.scores.best, *output.hidden]

    def predict(self, payload):
        return summary(self.run(payload))
