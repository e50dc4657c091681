"""post_predict asks for more than predict does."""

import os


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self):
        return "answered"

    def post_predict(self, payload):
        os.mkdir(payload["make"])
