"""A net that no exporter takes as a whole, since it looks at values, around two that each can be taken."""

import torch
from torch import nn


def stack():
    return nn.Sequential(*[layer for _ in range(60) for layer in (nn.Linear(4, 4), nn.ReLU())])


class Chooser(nn.Module):
    def __init__(self):
        super().__init__()
        self.happy, self.sad = stack(), stack()
        self.gain = nn.Linear(4, 4)

    def forward(self, x):
        x = self.gain(x)
        return self.happy(x) if x.sum() > 0 else self.sad(x)


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Chooser().eval()

    def predict(self, payload):
        with torch.no_grad():
            return self.net(torch.tensor(payload)).tolist()
