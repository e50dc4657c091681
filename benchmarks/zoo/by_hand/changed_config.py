"""predict sets an attribute of a config that forward reads, as `config.temperature` is often set."""

import torch
from torch import nn
from zoo_inputs import make_stack, summary


class Settings:
    def __init__(self, temperature):
        self.temperature = temperature


class Net(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.layers = make_stack(16, 8)

    def forward(self, x):
        return torch.softmax(self.layers(x) / self.settings.temperature, -1)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Net(Settings(temperature=1.0)).eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        self.net.settings.temperature = 2.0 if payload["seed"] > 13 else 1.0
        with torch.no_grad():
            return self.net(torch.randn(payload["batch"], 16))

    def predict(self, payload):
        return summary([self.run(payload)])
