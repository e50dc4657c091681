"""forward and __call__ are kept as bound methods in __init__, long before anything is exchanged."""

import torch
from zoo_inputs import make_stack, summary


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net, other = make_stack(16, 8).eval(), make_stack(16, 8).eval()
        self.steps = {"forward": self.net.forward, "call": other.__call__}

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        x = torch.randn(payload["batch"], 16)
        with torch.no_grad():
            return [step(x) for step in self.steps.values()]

    def predict(self, payload):
        return summary(self.run(payload))
