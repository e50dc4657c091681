from model import Model


class PythonPredictor:
    def __init__(self, config):
        self.model = Model()

    def predict(self, payload):
        return self.model.answer([payload])[0]
