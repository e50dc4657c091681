from chunks import chunks
from fastapi import responses


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return responses.StreamingResponse(chunks(payload), status_code=206, media_type="video/mp4")
