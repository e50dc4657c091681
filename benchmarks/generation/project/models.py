"""Models of 6 layers (6 + 6 with an encoder), 256 wide, with seeded weights that do not repeat one token."""

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

VOCABULARY = 1000
BOS, PAD, EOS = range(3)
SPECIAL = {"bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": EOS}


def bart():
    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=256,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=1024,
        decoder_ffn_dim=1024,
        max_position_embeddings=512,
        init_std=0.05,
        tie_word_embeddings=False,
        decoder_start_token_id=EOS,
        forced_eos_token_id=EOS,
        **SPECIAL,
    )
    return BartForConditionalGeneration(config)


def t5():
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=256,
        d_kv=32,
        d_ff=1024,
        num_layers=6,
        num_heads=8,
        initializer_factor=1.0,  # with 2.0 float32 itself is 0.1 off float64 in the logits, and choices are chance
        tie_word_embeddings=False,
        decoder_start_token_id=PAD,
        **SPECIAL,
    )
    return T5ForConditionalGeneration(config)


def gpt2():
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=256, n_layer=6, n_head=8, n_positions=512, initializer_range=0.2, **SPECIAL
    )
    return GPT2LMHeadModel(config)


def llama():
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=0.2,
        **SPECIAL,
    )
    return LlamaForCausalLM(config)


MODELS = {"bart": bart, "t5": t5, "gpt2": gpt2, "llama": llama}


def make_model(name):
    torch.manual_seed(0)
    return MODELS[name]().eval()
