"""A deep narrow net, which every engine runs faster than torch; answers depend on the row and on nothing else."""

import torch
from torch import nn


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(60))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x)) + 0.1
        return x


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(config.get("seed", 0))
        self.net = Deep().eval()
        self.labels = open("labels.txt").read().split()

    def predict(self, payload, query_params):
        with torch.no_grad():
            scores = self.net(torch.tensor(payload["rows"]))
        if query_params.get("as") == "labels":
            return [self.labels[index] for index in scores.argmax(-1)]
        return {"scores": scores.tolist()}
