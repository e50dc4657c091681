import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path

print("imported by", sys.executable)


class PythonPredictor:
    def __init__(self, config):
        self.greeting = config["greeting"]
        # Refuses every thread but the one that made it.
        self.database = sqlite3.connect(":memory:")

    def predict(self, payload, query_params, headers):
        if isinstance(payload, dict) and "do" in payload:
            return getattr(self, payload["do"])(payload)
        if isinstance(payload, dict) and "wait_s" in payload:
            time.sleep(payload["wait_s"])
        return {
            "greeting": self.greeting,
            "payload": payload,
            "query": dict(query_params),
            "word": headers.get("x-word"),
        }

    def fail(self, payload):
        raise KeyError("no such label")

    def be_cancelled(self, payload):
        raise asyncio.CancelledError

    def interrupt(self, payload):
        raise KeyboardInterrupt

    def fork(self, payload):
        os.fork()
        return "forked"

    def query(self, payload):
        return self.database.execute("select 6 * 7").fetchone()

    def meet(self, payload):
        """Say that it is here and wait for the other."""
        Path(payload["mine"]).touch()
        while not Path(payload["other"]).exists():
            time.sleep(0.01)
        return "met"

    def large(self, payload):
        return bytes(payload["size"])

    def nothing(self, payload):
        return b""
