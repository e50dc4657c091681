"""BART with six and six layers, seeded, and beam search with the settings of a summarizer."""

import re
import zlib

import torch
from transformers import BartConfig, BartForConditionalGeneration

FIRST, LAST, ORDINARY, WORDS = 0, 2, 4, 4000


class Model:
    def __init__(self):
        torch.manual_seed(0)
        config = BartConfig(
            vocab_size=WORDS,
            d_model=256,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=1024,
            decoder_ffn_dim=1024,
            max_position_embeddings=512,
            init_std=0.1,  # so that the likeliest tokens are the same with any number of threads, and in float64
        )
        self.net = BartForConditionalGeneration(config).eval()

    def answer(self, payloads):
        return [{"summary": self.summarize(payload["text"])} for payload in payloads]

    def summarize(self, text):
        words = re.findall(r"\w+|[^\w\s]", text.lower())[:400]
        ids = [FIRST, *(ORDINARY + zlib.crc32(word.encode()) % (WORDS - ORDINARY) for word in words), LAST]
        tokens = torch.tensor([ids])
        with torch.no_grad():
            found = self.net.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                num_beams=4,
                length_penalty=2.0,
                no_repeat_ngram_size=3,
                min_length=20,
                max_length=40,
            )
        return " ".join(str(token) for token in found[0].tolist())
