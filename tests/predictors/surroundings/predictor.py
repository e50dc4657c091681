"""What predictors expect around them: files, Cortex's fixed path, environment, log, threads, processes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import on_python_path
from cortex_internal.lib.log import logger
from package import inner

WEIGHTS = "/mnt/project/weights/"


class PythonPredictor:
    """Reads /mnt/project."""

    def __init__(self, config):
        self.config = config
        self.two = threading.Barrier(2)

    def predict(self, payload):
        return getattr(self, payload["do"])(payload)

    def read(self, payload):
        name = "words.txt"
        with open("/mnt/project/words.txt") as file:
            opened = file.read()
        return {
            "open": opened,
            "pathlib": Path("/mnt/project").joinpath(name).read_text(),
            "f-string": Path(f"/mnt/project/{name}").read_text(),
            "bytes": Path(os.fsdecode(b"/mnt/project/words.txt")).read_text(),
            "listdir": sorted(os.listdir("/mnt/project/weights")),
            "exists": os.path.exists(WEIGHTS + "a.bin"),
            "stat": os.stat(WEIGHTS).st_size > 0,
            "inner": inner.read(),
            "config": Path(self.config["nested"][0]["path"]).read_text(),
            "env": Path(os.environ["WORDS"]).read_text(),
            "relative": Path("words.txt").read_text(),
            "others": ["/mnt/projects", "/mnt/project-2/x", "a/mnt/project", "s3://b/mnt/project/x"],
        }

    def describe(self, payload):
        return {
            "env": os.environ.get("FROM_ENV"),
            "folder": os.getcwd(),
            "python_path": on_python_path.WORD,
            "pid": os.getpid(),
        }

    def write(self, payload):
        Path("written.json").write_text(json.dumps(payload))
        return json.loads(Path("/mnt/project/written.json").read_text())

    def tell(self, payload):
        print("printed", payload["word"])
        logger.debug("debug %s", payload["word"])
        logger.info("info %s", payload["word"])
        logger.warning("warning %s", payload["word"])

    def meet_in_process(self, payload):
        """Two predictions of one process at once, or an error."""
        self.two.wait(20)
        return os.getpid()

    def meet_in_another_process(self, payload):
        """Two predictions in two processes at once, or an error."""
        Path(f"{payload['place']}-{os.getpid()}").touch()
        place, wait = Path(payload["place"]), threading.Event()
        for _ in range(400):
            if len(list(place.parent.glob(f"{place.name}-*"))) == 2:
                return os.getpid()
            wait.wait(0.05)
        raise TimeoutError("nobody came")

    def numbers(self, payload):
        return {"scores": [1.0, float("nan")], "limit": -float("inf")}
