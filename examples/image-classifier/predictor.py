"""Tells which shape an image shows. The image comes as the body of the request, or as the file of an upload."""

import io
import json

import numpy as np
import torch
from model import MobileNet
from PIL import Image, ImageOps, UnidentifiedImageError
from starlette.responses import JSONResponse

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def preprocess(image, size):
    """Resize the shorter side, crop the middle, normalise: what torchvision's transforms do."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    scale = (size * 8 // 7) / min(image.size)
    image = image.resize([max(size, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
    left, top = [(side - size) // 2 for side in image.size]
    image = image.crop((left, top, left + size, top + size))
    pixels = (np.asarray(image, dtype=np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


class PythonPredictor:
    def __init__(self, config):
        with open("labels.json") as file:
            self.labels = json.load(file)
        self.size = config.get("size", 96)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = MobileNet(len(self.labels))
        self.model.load_state_dict(torch.load("weights.pth", map_location="cpu", weights_only=True))
        self.model.to(self.device).eval()

    def predict(self, payload):
        file = io.BytesIO(payload) if isinstance(payload, bytes) else payload["image"].file
        try:
            image = Image.open(file)
            batch = preprocess(image, self.size).unsqueeze(0).to(self.device)
        except (UnidentifiedImageError, OSError):
            return JSONResponse({"error": "this is not an image"}, status_code=400)
        with torch.no_grad():
            scores = torch.softmax(self.model(batch)[0], dim=0)
        best = int(scores.argmax())
        return {"label": self.labels[best], "score": float(scores[best])}
