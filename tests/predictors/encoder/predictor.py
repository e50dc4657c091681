"""A small encoder of token ids, with attention hidden by a mask: what calls of unlike lengths can be batched with."""

import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def forward(self, x, hidden):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[-1] ** 0.5
        weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
        return self.norm(x + torch.tanh(self.out(weights @ self.value(x))))


class Encoder(nn.Module):
    def __init__(self, width=16, positions=420):
        super().__init__()
        self.words = nn.Embedding(100, width)
        self.positions = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(6))

    def forward(self, ids, mask):
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x, mask[:, None, :] == 0)
        seen = mask[:, :, None].to(x.dtype)
        return {"states": x, "mean": (x * seen).sum(1) / seen.sum(1).clamp(min=1)}


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.encoder = Encoder().eval()

    def predict(self, payload):
        ids = torch.tensor([payload["ids"]], dtype=torch.int64)
        with torch.no_grad():
            found = self.encoder(ids, torch.ones_like(ids))
        return {"mean": found["mean"][0].tolist(), "length": found["states"].shape[1]}
