"""An encoder of MiniLM's size with seeded weights, and a tokenizer that hashes words: nothing to download."""

import re
import zlib

import torch
from torch import nn

WORDS, WIDTH, LAYERS, HEADS, INNER, LONGEST = 30522, 384, 6, 12, 1536, 128
FIRST, LAST, ORDINARY = 101, 102, 1000


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm_attention, self.norm_output = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, hidden, mask):
        batch, length, _ = hidden.shape
        heads = self.query_key_value(hidden).view(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(batch, length, WIDTH)
        hidden = self.norm_attention(hidden + self.attended(attended))
        return self.norm_output(hidden + self.narrow(nn.functional.gelu(self.widen(hidden))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(512, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids, mask):
        places = torch.arange(ids.shape[1], device=ids.device)
        hidden = self.norm(self.words(ids) + self.places(places))
        added = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * -1e9
        for layer in self.layers:
            hidden = layer(hidden, added)
        weights = mask[..., None].to(hidden.dtype)
        return nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def tokenize(text):
    words = re.findall(r"\w+|[^\w\s]", text.lower())[: LONGEST - 2]
    return [FIRST, *(ORDINARY + zlib.crc32(word.encode()) % (WORDS - ORDINARY) for word in words), LAST]


class Model:
    def __init__(self):
        torch.manual_seed(0)
        self.net = Encoder().eval()

    def answer(self, payloads):
        rows = [tokenize(payload["text"]) for payload in payloads]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            embeddings = self.net(ids, mask)
        return [{"embedding": [round(value, 5) for value in row[:8].tolist()]} for row in embeddings]
