import os
import time
from pathlib import Path


class PythonPredictor:
    def __init__(self, config):
        broken = Path(config.get("broken", "broken"))
        if broken.exists():
            exec(broken.read_text())

    def predict(self, payload):
        if payload.get("do") == "sleep":
            time.sleep(payload["seconds"])
        while payload.get("do") == "loop":
            pass
        return {"pid": os.getpid()}
