"""torch.autocast around the call: the results are bfloat16, which numpy cannot carry."""

import torch
from torch import nn
from zoo_inputs import summary


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)).eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        with torch.no_grad(), torch.autocast("cpu"):
            return self.net(torch.randn(payload["batch"], 16)).float()

    def predict(self, payload):
        return summary([self.run(payload)])
