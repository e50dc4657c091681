"""Answers with the tokens that a model generates."""

import torch
from models import make_model


class PythonPredictor:
    def __init__(self, config):
        self.model = make_model(config["model"])

    def predict(self, payload):
        with torch.no_grad():
            return self.model.generate(torch.tensor([payload["ids"]]), pad_token_id=1, **payload["how"])[0].tolist()
