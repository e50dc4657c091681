"""Tells what it was given."""

import json
import os

import beside_path
import sibling
from cortex_internal.lib.log import logger

LABELS = json.load(open("labels.json"))


def describe(payload):
    kind = type(payload).__name__
    if isinstance(payload, bytes):
        return {kind: payload.decode("latin-1")}
    if kind == "FormData":
        items = payload.multi_items()
        return {
            kind: [[key, describe(value)] for key, value in items],
            "last": {key: describe(payload[key]) for key, _ in items},
        }
    if kind == "UploadFile":
        return {kind: [payload.filename, payload.content_type, payload.file.read().decode("latin-1")]}
    return {kind: payload if payload == payload else "NaN"}


class PythonPredictor:
    def __init__(self, config, job_spec, metrics_client):
        self.config = config
        self.job_spec = job_spec
        self.metrics = metrics_client

    def predict(self, payload, query_params, headers, batch_id="unset"):
        if query_params.get("tell") == "query":
            return {"each": {key: query_params[key] for key in query_params}, "all": query_params.multi_items()}
        if query_params.get("tell") == "headers":
            return {"X-One": headers.get("X-One"), "x-one": headers.get("x-one"), "all": headers.getlist("x-ONE")}
        if query_params.get("tell") == "request-id":
            return headers["x-request-id"]
        if query_params.get("tell") == "world":
            logger.info("told")
            self.metrics.increment("told", 1, {"label": "world"})
            self.config["nested"]["labels"].append("mine")
            words = [beside_path.WORD, sibling.WORD, os.environ["CONTRACT"], os.path.basename(os.getcwd())]
            return {
                "config": self.config,
                "job_spec": self.job_spec,
                "batch_id": batch_id,
                "words": words,
                "labels": LABELS,
            }
        return describe(payload)
