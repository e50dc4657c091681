"""The result is a view of the argument; predict writes into it and goes on with the argument."""

import torch
from torch import nn
from zoo_inputs import summary


class Window(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x[:, 2:6]


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Window().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        x = torch.randn(payload["batch"], 16)
        with torch.no_grad():
            self.net(x).mul_(10)
        return x

    def predict(self, payload):
        return summary([self.run(payload)])
