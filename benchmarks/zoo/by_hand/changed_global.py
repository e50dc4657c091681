"""predict sets globals that forward reads, one of them through a function of the file."""

import torch
from torch import nn
from zoo_inputs import make_stack, summary

SCALE = 1.0
SETTINGS = {"temperature": 1.0}


def cooled(x):
    return x / SETTINGS["temperature"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = make_stack(16, 8)

    def forward(self, x):
        return torch.softmax(cooled(self.layers(x)) * SCALE, -1)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Net().eval()

    def run(self, payload):
        global SCALE
        torch.manual_seed(payload["seed"])
        SCALE = 1.5 if payload["seed"] % 2 else 1.0
        SETTINGS["temperature"] = 2.0 if payload["seed"] > 13 else 1.0
        with torch.no_grad():
            return self.net(torch.randn(payload["batch"], 16))

    def predict(self, payload):
        return summary([self.run(payload)])
