"""Parts of a model are called by themselves; the whole never is."""

import torch
from torch import nn
from zoo_inputs import summary


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.Embedding(99, 32)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False
        )
        self.decoder = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 99))

    def forward(self, ids):
        return self.decoder(self.encoder(self.embeddings(ids)))


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        self.model = Model().eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        ids = torch.randint(99, (payload["batch"], payload["length"]))
        with torch.no_grad():
            states = self.model.encoder(self.model.embeddings(ids))
            return [states, self.model.decoder(states[:, -1])]

    def predict(self, payload):
        return summary(self.run(payload))
