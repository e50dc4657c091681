"""Train on shapes that Pillow draws; write weights.pth and the samples. Some minutes: `python train.py`."""

import io
import json
import math
import random
from pathlib import Path

import torch
from model import MobileNet
from PIL import Image, ImageDraw, ImageFilter
from predictor import preprocess

HERE = Path(__file__).parent
LABELS = json.loads((HERE / "labels.json").read_text())
BOUNDARY = "a-line-between-the-parts"


def draw(label, dice, width=128, height=128):
    """One of the shapes, somewhere, turned, in colours that differ, a little blurred."""
    ground = tuple(dice.randrange(256) for _ in range(3))
    colour = tuple((part + dice.randrange(90, 166)) % 256 for part in ground)
    image = Image.new("RGB", (width, height), ground)
    radius = dice.uniform(0.2, 0.35) * min(width, height)
    x, y = (side / 2 + dice.uniform(-0.1, 0.1) * min(width, height) for side in (width, height))
    if label == "circle":
        ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        count = {"triangle": 3, "square": 4, "star": 10}[label]
        turn = dice.uniform(0, math.tau)
        corners = []
        for corner in range(count):
            reach = radius * (0.45 if label == "star" and corner % 2 else 1)
            angle = turn + math.tau * corner / count
            corners.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
        ImageDraw.Draw(image).polygon(corners, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(dice.uniform(0.3, 1.2)))


def train(steps=300, size=96):
    torch.manual_seed(0)
    dice = random.Random(0)
    model = MobileNet(len(LABELS))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for step in range(steps):
        wanted = [dice.randrange(len(LABELS)) for _ in range(32)]
        images = torch.stack([preprocess(draw(LABELS[label], dice), size) for label in wanted])
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), torch.tensor(wanted))
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    return model.eval()


@torch.no_grad()
def share_right(model, size=96, count=400):
    dice = random.Random(1)
    wanted = [number % len(LABELS) for number in range(count)]
    images = torch.stack([preprocess(draw(LABELS[label], dice), size) for label in wanted])
    return (model(images).argmax(dim=1) == torch.tensor(wanted)).float().mean().item()


def write_samples():
    """A JPEG and a PNG for the body of a request, and an upload as a browser's form sends it."""
    draw("star", random.Random(2), 320, 240).save(HERE / "sample.jpg", quality=80)
    draw("triangle", random.Random(3), 160, 200).save(HERE / "sample.png")
    image = io.BytesIO()
    draw("circle", random.Random(4), 200, 200).save(image, "JPEG", quality=80)
    head = 'Content-Disposition: form-data; name="image"; filename="circle.jpg"\r\nContent-Type: image/jpeg'
    parts = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode(), image.getvalue(), f"\r\n--{BOUNDARY}--\r\n".encode()]
    (HERE / "sample-upload.bin").write_bytes(b"".join(parts))


if __name__ == "__main__":
    write_samples()
    model = train()
    torch.save(model.state_dict(), HERE / "weights.pth")
    print(f"right on {share_right(model):.1%} of 400 new images; wrote {HERE / 'weights.pth'}")
