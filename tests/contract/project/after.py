"""Its work after the answer writes what it was given, once it is let go on."""

import json
import os
import time


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return {"answered": payload["say"]}

    def post_predict(self, response, payload, query_params, headers):
        if payload["say"] == "fail":
            raise RuntimeError("after the answer")
        while not os.path.exists(payload["wait_for"]):
            time.sleep(0.01)
        with open(payload["write"] + ".part", "w") as file:
            json.dump([response, payload["say"], query_params.get("q"), headers.get("x-one")], file)
        os.rename(payload["write"] + ".part", payload["write"])
