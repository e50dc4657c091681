"""Build the two models of this example into models/: `python build_models.py`. Needs no network, takes seconds.

They stand for the models that a real project downloads. The sentiment model is small and learns from corpus.txt. The
summarizer has the shape of a BART (6 + 6 layers) and seeded weights, of which only the last layer is fitted: it does
the work of a summarizer, but what it says is a jumble of the corpus.
"""

import os
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

HERE = Path(__file__).resolve().parent
LABELS = ["NEGATIVE", "POSITIVE"]
BOS, PAD, EOS, UNK = range(4)


def read_corpus():
    lines = (HERE / "corpus.txt").read_text().splitlines()
    return [tuple(line.split("\t")) for line in lines]


def build_tokenizer():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for _, text in read_corpus()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )


def build_sentiment(tokenizer):
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=128,
        n_layers=2,
        n_heads=4,
        hidden_dim=512,
        pad_token_id=PAD,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = DistilBertForSequenceClassification(config)
    examples = [(text, LABELS.index(label.upper())) for label, text in read_corpus() if label != "neutral"]
    tokens = tokenizer([text for text, _ in examples], padding=True, return_tensors="pt")
    labels = torch.tensor([label for _, label in examples])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(30):
        optimizer.zero_grad()
        scores = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
        torch.nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
    return model.eval()


def build_summarizer(tokenizer):
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tokenizer),
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
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_eos_token_id=EOS,
    )
    model = BartForConditionalGeneration(config).eval()
    for part in (model.model.encoder, model.model.decoder):  # a tensor of its own each: untied ones are saved by name
        part.embed_tokens.weight = torch.nn.Parameter(part.embed_tokens.weight.detach().clone())
    fit_last_layer(model, tokenizer)
    model.generation_config = GenerationConfig(
        num_beams=4,
        length_penalty=2.0,
        min_length=56,
        max_length=142,
        no_repeat_ngram_size=3,
        early_stopping=True,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_eos_token_id=EOS,
    )
    return model


@torch.no_grad()
def fit_last_layer(model, tokenizer):
    """Solve the last layer, by least squares, for repeating the corpus. Purely random weights would make every word as
    likely as any other, and a rounding error would then choose another summary."""
    tokens = tokenizer([text for _, text in read_corpus()], padding=True, return_tensors="pt")
    words, used = tokens["input_ids"], tokens["attention_mask"].bool()
    shifted = torch.cat([torch.full((len(words), 1), EOS), words[:, :-1]], dim=1)
    hidden = model.model(**tokens, decoder_input_ids=shifted).last_hidden_state[used]
    wanted = torch.nn.functional.one_hot(words[used], len(tokenizer)).float()
    fitted = torch.linalg.solve(hidden.T @ hidden + 100 * torch.eye(hidden.shape[1]), hidden.T @ wanted)
    model.lm_head.weight.copy_(20 * fitted.T)


def build_models(folder=HERE / "models"):
    """Write models/ whole or not at all: several processes may start at once."""
    tokenizer = build_tokenizer()
    unfinished = Path(tempfile.mkdtemp(prefix=".models-", dir=folder.parent))
    for name, model in [("sentiment", build_sentiment(tokenizer)), ("summarizer", build_summarizer(tokenizer))]:
        model.save_pretrained(unfinished / name)
        tokenizer.save_pretrained(unfinished / name)
    try:
        os.rename(unfinished, folder)
    except OSError:  # another process was first
        shutil.rmtree(unfinished)


if __name__ == "__main__":
    shutil.rmtree(HERE / "models", ignore_errors=True)
    build_models()
    print(f"wrote {HERE / 'models'}")
