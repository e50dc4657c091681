"""Looks at all that it is given, and never raises: what is answered with 5xx is none of its doing."""


def size_of(value):
    if hasattr(value, "multi_items"):
        return [[len(key), size_of(item)] for key, item in value.multi_items()]
    if hasattr(value, "file"):
        return [len(value.filename), len(value.file.read())]
    return len(value) if isinstance(value, (bytes, str, list, dict)) else 1


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload, query_params, headers):
        return [type(payload).__name__, size_of(payload), size_of(query_params), len(headers.items())]
