from chunks import chunks
from starlette.responses import StreamingResponse


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return StreamingResponse(chunks(payload), status_code=206, media_type="video/mp4")
