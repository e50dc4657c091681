from chunks import chunks


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        yield from chunks(payload)
