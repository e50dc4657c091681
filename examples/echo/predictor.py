"""No model at all: answers what it was asked, to see what arrives."""

import base64


class PythonPredictor:
    def __init__(self, config):
        self.greeting = config["greeting"]

    def predict(self, payload, query_params, headers):
        if isinstance(payload, bytes):
            payload = {"base64": base64.b64encode(payload).decode()}
        return {
            "greeting": self.greeting,
            "payload": payload,
            "query": {name: query_params.getlist(name) for name in query_params},
            "headers": dict(headers),
        }
