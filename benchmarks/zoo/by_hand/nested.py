"""Modules in lists, dicts and objects inside each other."""

import torch
from zoo_inputs import make_stack, summary


class Tower:
    def __init__(self, width):
        self.stages = {"encode": [make_stack(16, width), make_stack(width, width)], "head": (make_stack(width, 4),)}


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
