"""Train the network on customers drawn by chance, and write weights.pth. The same weights every time."""

from pathlib import Path

import torch
from model import RiskNet

HERE = Path(__file__).parent


def draw_customers(count):
    """Customers, and whether each left: new ones with a high bill, many calls and late payments do."""
    months, bill = torch.randint(1, 72, (count,)), 20 + 60 * torch.rand(count)
    calls, late = torch.poisson(torch.full((count,), 1.5)), torch.poisson(torch.full((count,), 0.7))
    inclined = 0.05 * (bill - 50) - 0.06 * (months - 24) + 0.7 * (calls - 1.5) + 0.9 * (late - 0.7)
    return torch.stack([months, bill, calls, late], dim=1), torch.bernoulli(torch.sigmoid(inclined))


def train(steps=300):
    torch.manual_seed(0)
    customers, left = draw_customers(4000)
    model = RiskNet()
    model.mean.copy_(customers.mean(dim=0))
    model.std.copy_(customers.std(dim=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003, weight_decay=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(customers), left).backward()
        optimizer.step()
    return model


@torch.no_grad()
def share_right(model):
    customers, left = draw_customers(2000)
    return ((model(customers) > 0) == left.bool()).float().mean().item()


if __name__ == "__main__":
    model = train()
    torch.save(model.state_dict(), HERE / "weights.pth")
    print(f"right on {share_right(model):.1%} of 2000 other customers; wrote {HERE / 'weights.pth'}")
