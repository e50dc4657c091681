import time
from pathlib import Path


class PythonPredictor:
    def __init__(self, config):
        self.done = Path(config["done"])
        self.go = Path(config["go"])

    def predict(self, payload):
        return payload

    def post_predict(self, response):
        while not self.go.exists():
            time.sleep(0.01)
        with self.done.open("a") as file:
            file.write(f"{response} ")
        raise OSError("nobody hears of this")
