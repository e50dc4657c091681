"""Modules in lists, dicts and objects inside each other."""

import torch
from torch import nn
from zoo_inputs import summary


class Tower:
    def __init__(self, width):
        self.stages = {"encode": [make_net(16, width), make_net(width, width)], "head": (make_net(width, 4),)}


def make_net(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, outputs)
    )


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.towers = {"small": Tower(8), "large": Tower(24)}
        for tower in self.towers.values():
            for stage in tower.stages.values():
                for net in stage:
                    net.eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        x = torch.randn(payload["batch"], 16)
        results = []
        for tower in self.towers.values():
            y = x
            for net in (*tower.stages["encode"], *tower.stages["head"]):
                y = net(y)
            results.append(y)
        return results

    def predict(self, payload):
        return summary(self.run(payload))
