"""Adds 6 to a row of numbers by way of a deep net, and does what no predictor should when a request says so."""

import time

import misdeeds
import torch
from torch import nn


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(60))
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.copy_(torch.eye(4).roll(1, 0))
                layer.bias.zero_()

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x)) + 0.1
        return x


class PythonPredictor:
    def __init__(self, config):
        self.net = Deep().eval()
        self.pause_s = config.get("pause_s", 0.0)
        self.begun = 0
        misdeeds.fail_to_load_if_told(config)
        self.load_s = misdeeds.seconds_since_process_began()

    def predict(self, payload):
        self.begun += 1
        if "do" in payload:
            answer = misdeeds.DEEDS[payload["do"]](self, payload)
            if answer is not None:
                return answer
        time.sleep(self.pause_s)
        with torch.no_grad():
            scores = self.net(torch.tensor([payload["row"]]))[0]
        return {"id": payload["id"], "scores": scores.tolist()}
