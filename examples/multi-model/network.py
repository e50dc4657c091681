"""The network that every model of this API is: what is known of a flat in, its monthly rent out."""

import torch
from torch import nn

FIELDS = ["area", "rooms", "floor"]


class RentNet(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.register_buffer("scale", torch.tensor([100.0, 4.0, 10.0]))
        self.layers = nn.Sequential(nn.Linear(len(FIELDS), hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, flats):
        return 1000 * self.layers(flats / self.scale).squeeze(1)
