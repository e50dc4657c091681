"""forward keeps a running mean in a buffer."""

import torch
from torch import nn
from zoo_inputs import summary


class Normalizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(16, 16)
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x):
        self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        return self.net(x - self.mean)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Normalizer().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        with torch.no_grad():
            return self.net(torch.randn(payload["batch"], 16))

    def predict(self, payload):
        return summary([self.run(payload)])
