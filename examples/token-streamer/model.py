"""The network: one token and what was remembered in, scores for the next token and what to remember out."""

import re

import torch
from torch import nn

HIDDEN = 64


def split(text):
    """Words and marks, each with the space before it."""
    return re.findall(r" ?\w+| ?[^\w\s]|\n", text)


class NextToken(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.embed = nn.Embedding(tokens, 32)
        self.remember = nn.GRU(32, HIDDEN, batch_first=True)
        self.score = nn.Linear(HIDDEN, tokens)

    def forward(self, tokens, memory):
        states, memory = self.remember(self.embed(tokens), memory)
        return self.score(states), memory


def no_memory(batch=1):
    return torch.zeros(1, batch, HIDDEN)
