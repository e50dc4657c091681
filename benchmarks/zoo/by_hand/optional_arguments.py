"""Several ways of calling one module: positional and by keyword, with and without a mask, None and constants."""

import torch
from torch import nn
from zoo_inputs import make_stack, summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(99, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = make_stack(16, 4)

    def forward(self, ids, mask=None, scale=1.0, return_states=False):
        x = self.embed(ids)
        hidden = None if mask is None else mask == 0
        x = x + self.attend(x, x, x, key_padding_mask=hidden, need_weights=False)[0]
        result = {"logits": self.head(x.mean(1)) * scale, "states": None, "scale": scale}
        if return_states:
            result["states"] = (x, None)
        return result


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.net = Net().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        ids = torch.randint(99, (payload["batch"], payload["length"]))
        mask = torch.ones_like(ids)
        mask[:, -2:] = 0
        with torch.no_grad():
            first = self.net(ids)
            second = self.net(ids, mask, scale=0.5)
            third = self.net(return_states=True, mask=mask, ids=ids)
            if payload["seed"] > 12:  # a way that no sample shows
                third["logits"] = third["logits"] + self.net(ids, mask, 3.0)["logits"]
        return [first["logits"], second["logits"], third["logits"], third["states"][0]]

    def predict(self, payload):
        return summary(self.run(payload))
