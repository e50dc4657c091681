"""Two models behind one API: ?model=sentiment and ?model=summarizer."""

from pathlib import Path

import torch
from build_models import build_models
from starlette.responses import JSONResponse
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline


class Summarizer:
    """What pipeline("summarization") does, for transformers 5, which no longer has it."""

    def __init__(self, folder, device):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder).to(device if device >= 0 else "cpu").eval()

    def __call__(self, text, truncation=True, **options):
        tokens = self.tokenizer(text, truncation=truncation, return_tensors="pt").to(self.model.device)
        with torch.no_grad():
            words = self.model.generate(tokens["input_ids"], attention_mask=tokens["attention_mask"], **options)
        return [{"summary_text": self.tokenizer.decode(words[0], skip_special_tokens=True)}]


def load_summarizer(folder, device):
    try:
        return pipeline("summarization", model=folder, device=device)
    except KeyError:
        return Summarizer(folder, device)


class PythonPredictor:
    def __init__(self, config):
        if not Path("models").exists():
            build_models()
        device = 0 if torch.cuda.is_available() else -1
        self.analyzer = pipeline("text-classification", model="models/sentiment", device=device)
        self.summarizer = load_summarizer("models/summarizer", device)

    def predict(self, query_params, payload):
        model = query_params.get("model")
        if model == "sentiment":
            return self.analyzer(payload["text"])[0]
        if model == "summarizer":
            summary = self.summarizer(
                payload["text"], num_beams=4, length_penalty=2.0, max_length=142, no_repeat_ngram_size=3
            )
            return summary[0]["summary_text"]
        return JSONResponse({"error": f"unknown model: {model}"}, status_code=400)
