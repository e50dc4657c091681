"""A module called in a loop of predict's own, until the numbers say stop."""

import torch
from torch import nn
from zoo_inputs import make_stack, summary


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 24)
        self.cell = make_stack(48, 24).eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        state = torch.randn(payload["batch"], 24)
        token = torch.zeros(payload["batch"], dtype=torch.long)
        with torch.no_grad():
            for _ in range(payload["length"]):
                state = self.cell(torch.cat([state, self.embed(token)], -1))
                token = state.argmax(-1)
                if int(token.sum()) % 7 == 6:
                    break
        return state

    def predict(self, payload):
        return summary([self.run(payload)])
