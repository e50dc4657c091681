"""Build the model of this example into model/: `python build_model.py`. Needs no network, takes seconds.

It stands for the GPT-2 that a real project downloads: the same architecture, small, with a tokenizer of its own,
trained on corpus.txt until it nearly knows it by heart.
"""

import os
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent


def build_tokenizer(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def train(tokenizer, text, steps=120, length=48):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=128,
        n_layer=4,
        n_head=4,
        embd_pdrop=0,
        attn_pdrop=0,
        resid_pdrop=0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = GPT2LMHeadModel(config)
    tokens = torch.tensor(tokenizer(text)["input_ids"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(steps):
        starts = torch.randint(len(tokens) - length, (8,)).tolist()
        batch = torch.stack([tokens[start : start + length] for start in starts])
        optimizer.zero_grad()
        scores = model(batch[:, :-1]).logits
        torch.nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten()).backward()
        optimizer.step()
    return model.eval()


def build_model(folder=HERE / "model"):
    """Write model/ whole or not at all: several processes may start at once."""
    text = (HERE / "corpus.txt").read_text()
    tokenizer = build_tokenizer(text)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are so small that a second thread mostly waits
    model = train(tokenizer, text)
    torch.set_num_threads(threads)
    tokenizer.model_max_length = model.config.n_positions
    unfinished = Path(tempfile.mkdtemp(prefix=".model-", dir=folder.parent))
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    try:
        os.rename(unfinished, folder)
    except OSError:  # another process was first
        shutil.rmtree(unfinished)


if __name__ == "__main__":
    shutil.rmtree(HERE / "model", ignore_errors=True)
    build_model()
    print(f"wrote {HERE / 'model'}")
