"""Many models behind one API: ?model=CITY&version=NUMBER picks the one that estimates a flat's rent."""

import os

import torch
from network import FIELDS, RentNet
from starlette.responses import JSONResponse


class PythonPredictor:
    def __init__(self, config, python_client):
        self.client = python_client
        self.cities = config["cities"]

    def load_model(self, model_path):
        weights = torch.load(os.path.join(model_path, "weights.pth"), map_location="cpu", weights_only=True)
        model = RentNet(hidden=len(weights["layers.0.bias"]))
        model.load_state_dict(weights)
        return model.eval()

    def predict(self, payload, query_params):
        city, version = query_params.get("model"), query_params.get("version", "latest")
        if city not in self.cities:
            return JSONResponse({"error": f"unknown model: {city}"}, status_code=400)
        model = self.client.get_model(city, version)
        flat = torch.tensor([[payload[name] for name in FIELDS]], dtype=torch.float32)
        with torch.no_grad():
            rent = model(flat)
        return {"rent": rent.item(), "model": city, "version": version}
