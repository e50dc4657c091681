"""Train the network on corpus.txt and write weights.pth and tokens.json. The same every time: `python train.py`."""

import json
from pathlib import Path

import torch
from model import NextToken, no_memory, split

HERE = Path(__file__).parent


def train(text, known, steps=120):
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the tensors are so small that a second thread mostly waits
    model = NextToken(len(known))
    tokens = torch.tensor([known.index(token) for token in split(text)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        scores, _ = model(tokens[:-1].unsqueeze(0), no_memory())
        loss = torch.nn.functional.cross_entropy(scores[0], tokens[1:])
        loss.backward()
        optimizer.step()
        if step % 40 == 39:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    return model


if __name__ == "__main__":
    text = (HERE / "corpus.txt").read_text()
    known = sorted(set(split(text)))
    model = train(text, known)
    (HERE / "tokens.json").write_text(json.dumps(known) + "\n")
    torch.save(model.state_dict(), HERE / "weights.pth")
    print(f"wrote {HERE / 'weights.pth'}")
