"""One encoder under three names: two models share it, and the predictor calls it too."""

import torch
from torch import nn
from zoo_inputs import make_stack, summary


class Model(nn.Module):
    def __init__(self, encoder, outputs):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(32, outputs)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.encoder = make_stack(16, 32).eval()
        self.models = [Model(self.encoder, 3).eval(), Model(self.encoder, 5).eval()]

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        x = torch.randn(payload["batch"], payload["length"], 16)
        with torch.no_grad():
            return [self.encoder(x), *(model(x) for model in self.models)]

    def predict(self, payload):
        return summary(self.run(payload))
