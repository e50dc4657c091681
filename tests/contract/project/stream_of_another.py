from chunks import respond


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return respond(payload)
