import base64

from model import Model


class PythonPredictor:
    def __init__(self, config):
        self.model = Model()

    def predict(self, payload):
        file = base64.b64decode(payload["file"]) if isinstance(payload, dict) else payload["file"].file.read()
        return self.model.answer([file])[0]
