"""predict sets an attribute that forward reads, as temperature is often set."""

import torch
from torch import nn
from zoo_inputs import make_stack, summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = make_stack(16, 8)
        self.temperature = 1.0

    def forward(self, x):
        return torch.softmax(self.layers(x) / self.temperature, -1)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Net().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        self.net.temperature = 2.0 if payload["seed"] > 13 else 1.0
        with torch.no_grad():
            return self.net(torch.randn(payload["batch"], 16))

    def predict(self, payload):
        return summary([self.run(payload)])
