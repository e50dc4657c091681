"""Half precision."""

import torch
from torch import nn
from zoo_inputs import summary


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        layers = [layer for _ in range(12) for layer in (nn.Linear(16, 16), nn.Tanh())]
        self.net = nn.Sequential(*layers).half().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        with torch.no_grad():
            return self.net(torch.randn(payload["batch"], 16).half())

    def predict(self, payload):
        return summary([self.run(payload)])
