import json
import os

import from_python_path
from cortex_internal.lib.log import logger

import compiler
from backends import WHOSE

with open("labels.json") as file:
    LABELS = json.load(file)


class PythonPredictor:
    def __init__(self, config, job_spec, metrics_client):
        config["changed"] = True
        self.config = config
        self.job_spec = job_spec
        metrics_client.gauge("loaded", 1, tags={"of": "labels"})
        logger.debug("loaded %s labels", len(LABELS))

    def predict(self):
        return {
            "labels": LABELS,
            "compiler": compiler.WHOSE,
            "backends": WHOSE,
            "python_path": from_python_path.WHOSE,
            "env": os.environ["TINY_WORD"],
            "config": self.config,
            "job_spec": self.job_spec,
        }
