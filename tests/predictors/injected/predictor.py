"""Arguments that Cortex took at start and never gave: behind a decorator, and after the star."""

import functools

EVENTS = []


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        EVENTS.append(sorted(kwargs))
        return function(*args, **kwargs)

    return wrapper


class PythonPredictor:
    def __init__(self, config, *, metrics_client):
        self.metrics_client = metrics_client

    @logged
    async def predict(self, payload, query_params, *, headers, batch_id=7):
        self.metrics_client.increment("calls")
        return [payload, query_params.getlist("k"), headers["X-Word"], batch_id]

    def post_predict(self, response, payload):
        EVENTS.append([response[0], payload])
