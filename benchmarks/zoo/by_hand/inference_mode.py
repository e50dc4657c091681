"""torch.inference_mode around the call, as a decorator; and no mode at all around another."""

import torch
from torch import nn
from zoo_inputs import summary


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        convolutions = [
            layer for _ in range(8) for layer in (nn.Conv1d(16, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU())
        ]
        self.net = nn.Sequential(*convolutions, nn.AdaptiveAvgPool1d(1)).eval()

    @torch.inference_mode()
    def infer(self, x):
        return self.net(x)

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        x = torch.randn(payload["batch"], 16, payload["length"])
        return [self.infer(x), self.net(x)]

    def predict(self, payload):
        return summary(self.run(payload))
