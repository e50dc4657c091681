"""generate() of Hugging Face's with beams: encoder and decoder steps, with caches."""

import torch
from transformers import BartConfig, BartForConditionalGeneration


class PythonPredictor:
    def __init__(self, config):
        torch.manual_seed(0)
        sizes = dict(
            d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4
        )
        limits = dict(encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=80, vocab_size=99)
        self.net = BartForConditionalGeneration(BartConfig(init_std=0.4, **sizes, **limits)).eval()

    def run(self, payload):
        torch.manual_seed(payload["seed"])
        ids = torch.randint(3, 99, (payload["batch"], payload["length"]))
        return self.net.generate(input_ids=ids, attention_mask=torch.ones_like(ids), num_beams=2, max_new_tokens=12)

    def predict(self, payload):
        return self.run(payload).tolist()
