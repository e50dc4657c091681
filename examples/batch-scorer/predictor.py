"""Scores customers, many requests in one call: with server_side_batching each argument is a list."""

import torch
from model import FIELDS, RiskNet


class PythonPredictor:
    def __init__(self, config):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = RiskNet()
        self.model.load_state_dict(torch.load("weights.pth", map_location="cpu", weights_only=True))
        self.model.to(self.device).eval()
        self.threshold = config["threshold"]

    def predict(self, payload):
        customers = torch.tensor([[customer[name] for name in FIELDS] for customer in payload], dtype=torch.float32)
        with torch.no_grad():
            risks = torch.sigmoid(self.model(customers.to(self.device))).tolist()
        return [{"risk": risk, "call": risk > self.threshold} for risk in risks]
