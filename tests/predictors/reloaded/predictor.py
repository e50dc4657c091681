"""Models by name and version from folders, each a net that is faster compiled. Its answer says whose it is."""

import os

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
    def __init__(self, config, python_client):
        self.client = python_client

    def load_model(self, model_path):
        seed = int(open(os.path.join(model_path, "seed.txt")).read())
        torch.manual_seed(seed)
        return {"seed": seed, "net": Deep().eval()}

    def predict(self, payload, query_params):
        model = self.client.get_model(query_params.get("model"), query_params.get("version", "latest"))
        with torch.no_grad():
            scores = model["net"](torch.tensor(payload["rows"]))
        return {"seed": model["seed"], "scores": scores.tolist()}
