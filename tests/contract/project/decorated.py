import functools


def shout(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs).upper()

    return wrapper


class PythonPredictor:
    def __init__(self, config):
        pass

    @shout
    def predict(self, payload):
        return payload
