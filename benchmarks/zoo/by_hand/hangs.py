"""A module that no exporter comes to an end with."""

import time

import torch
from torch import nn
from zoo_inputs import make_stack, summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = make_stack(16, 4)

    def forward(self, x):
        while torch.compiler.is_compiling():
            time.sleep(1)
        return self.layers(x)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Net().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        with torch.no_grad():
            return self.net(torch.randn(payload["batch"], 16))

    def predict(self, payload):
        return summary([self.run(payload)])
