"""Continues a text and sends each token as soon as it is there: predict is a generator."""

import json

import torch
from model import NextToken, no_memory, split


class PythonPredictor:
    def __init__(self, config):
        with open("tokens.json") as file:
            self.tokens = json.load(file)
        self.number = {token: number for number, token in enumerate(self.tokens)}
        self.seed = config["seed"]
        self.max_tokens = config["max_tokens"]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = NextToken(len(self.tokens))
        self.model.load_state_dict(torch.load("weights.pth", map_location="cpu", weights_only=True))
        self.model.to(self.device).eval()

    def predict(self, payload):
        dice = torch.Generator().manual_seed(payload.get("seed", self.seed))
        memory = no_memory().to(self.device)
        known = [self.number[token] for token in split("\n" + payload["text"]) if token in self.number]
        for _ in range(payload.get("max_tokens", self.max_tokens)):
            with torch.no_grad():
                scores, memory = self.model(torch.tensor([known]).to(self.device), memory)
            likely = torch.softmax(scores[0, -1].cpu() / 0.5, dim=-1)
            chosen = torch.multinomial(likely, num_samples=1, generator=dice).item()
            if self.tokens[chosen] == "\n":
                return
            known = [chosen]
            yield self.tokens[chosen]
