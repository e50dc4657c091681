import os

import numpy


class PythonPredictor:
    """Its errors hold what no client should read."""

    def __init__(self, config):
        pass

    def predict(self, payload, headers):
        do = payload["do"]
        if do == "raise":
            raise RuntimeError(f"cannot read /etc/shadow, from {__file__}, for {payload['text']}")
        if do == "raise without end":
            return self.predict({"do": "raise without end"}, headers)
        if do == "return what is no answer":
            return object()
        if do == "end":
            os._exit(3)
        if do == "more than there is memory":
            return numpy.zeros(2**48)
        return sorted(headers.items())
