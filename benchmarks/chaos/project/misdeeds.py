"""What predictors do wrong, by the name that a request asks for. None: the prediction goes on."""

import ctypes
import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

KEPT = []


def tell(predictor, payload):
    return {"begun": predictor.begun, "load_s": predictor.load_s, "pid": os.getpid()}


def pause(predictor, payload):
    time.sleep(payload["seconds"])


def end_the_process(predictor, payload):
    os._exit(3)


def raise_an_error(predictor, payload):
    raise RuntimeError("told to raise")


def answer_garbage(predictor, payload):
    return object()


def leak(predictor, payload):
    KEPT.append(bytearray(payload["bytes"]))


def loop(predictor, payload):
    while True:
        pass


def recurse(predictor, payload):
    return recurse(predictor, payload)


def recurse_until_the_stack_ends(predictor, payload):
    sys.setrecursionlimit(10**9)
    threading.stack_size(0)

    class Endless:
        def __repr__(self):
            return repr([self])

    return repr(Endless())


def close_stdout(predictor, payload):
    sys.stdout.close()
    sys.stderr.close()
    for descriptor in (1, 2):
        os.close(descriptor)


def fork(predictor, payload):
    # The child goes on as if it were the predictor.
    os.fork()


def crash(predictor, payload):
    ctypes.string_at(0)


def break_engine(predictor, payload):
    """Every graph in this process fails from now on."""
    for found in gc.get_objects():
        if type(found).__name__ == "ReadyVariant":
            found.session = BrokenSession()


class BrokenSession:
    def run(self, inputs):
        raise RuntimeError("the engine ran out of something")


DEEDS = {
    deed.__name__: deed
    for deed in (
        tell,
        pause,
        end_the_process,
        raise_an_error,
        answer_garbage,
        leak,
        loop,
        recurse,
        recurse_until_the_stack_ends,
        close_stdout,
        fork,
        crash,
        break_engine,
    )
}


def fail_to_load_if_told(config):
    """With ``fails_if`` in its config, the predictor cannot be loaded while there is such a temporary file."""
    if "fails_if" in config and Path(tempfile.gettempdir(), config["fails_if"]).exists():
        raise RuntimeError("the weights are gone")


def seconds_since_process_began():
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return uptime_s - ticks / os.sysconf("SC_CLK_TCK")
