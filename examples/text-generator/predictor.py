"""Continues a text with GPT-2, one word piece after the other, drawn from the likeliest (top-p sampling)."""

from pathlib import Path

import torch
from build_model import build_model
from transformers import AutoTokenizer, GPT2LMHeadModel


def keep_likeliest(scores, top_p):
    """Leave the smallest set of tokens whose probabilities reach top_p; the others become impossible."""
    ordered, order = torch.sort(scores, descending=True)
    reached = torch.cumsum(torch.softmax(ordered, dim=-1), dim=-1)
    unlikely = reached - torch.softmax(ordered, dim=-1) >= top_p
    scores[order[unlikely]] = -float("inf")
    return scores


class PythonPredictor:
    def __init__(self, config):
        if not Path("model").exists():
            build_model()
        self.num_words = config.get("num_words", 20)
        self.seed = config.get("seed", 0)
        self.temperature = config.get("temperature", 0.8)
        self.top_p = config.get("top_p", 0.9)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained("model")
        self.model = GPT2LMHeadModel.from_pretrained("model").to(self.device).eval()

    def predict(self, payload):
        dice = torch.Generator().manual_seed(payload.get("seed", self.seed))
        tokens = self.tokenizer(payload["text"], return_tensors="pt")["input_ids"].to(self.device)
        longest = self.model.config.n_positions
        with torch.no_grad():
            for _ in range(payload.get("num_words", self.num_words)):
                scores = self.model(tokens[:, -longest:]).logits[0, -1].cpu() / self.temperature
                likely = torch.softmax(keep_likeliest(scores, self.top_p), dim=-1)
                chosen = torch.multinomial(likely, num_samples=1, generator=dice)
                tokens = torch.cat([tokens, chosen.to(self.device).unsqueeze(0)], dim=1)
        return self.tokenizer.decode(tokens[0])
