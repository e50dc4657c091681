"""The predictor as a Triton model: ``NAME/1/model.py`` is Triton's way in and imports ``TritonPythonModel`` from here.

``execute`` copies the inputs, hands the predictions to threads and returns at once; each call is answered through its
response sender, so one process has many requests in flight and plain ``infer`` over HTTP and gRPC still works. Where
the manifest's ``dispatch`` says so, it answers them itself: for a short prediction the way to a thread and back is
long.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .after_answer import AfterAnswer
from .answer import Answer, answer, answer_bad_request, begin_answer, describe_error
from .arrival import TOO_LATE, Arrival, UsualTime
from .batch_requests import batches_at_once
from .batched_predictions import BatchedPredictions
from .core_metrics import CoreMetrics
from .coroutines import CommonLoop
from .deadlines import Deadlines
from .errors import PredictorError
from .exchange import exchange_cores
from .exchange_later import LaterExchange
from .load_predictor import create_predictor, enter_project, load_predictor_class
from .logs import RUNTIME_LOGGER, start_logging
from .manifest import Manifest, read_manifest
from .places import Places
from .predict_threads import PredictThreads
from .python_client import PythonClient
from .remote import call_remote
from .replies import response_of, send_answer, send_answers, send_stream
from .request import BadRequest, request_from_context
from .streams import Stream
from .tensors import array_from, bytes_from
from .thread_state import capture_thread_state
from .triton_call import OUTPUTS, Finish, PredictionBytes, finish_each, split_call
from .turn_threads import TurnThreads
from .user_errors import user_traceback

__all__ = ["TritonPythonModel"]

_LOGGER = logging.getLogger(f"{RUNTIME_LOGGER}.model")

_OVERLOADED = Answer(b"Service Unavailable", 503, (("content-type", "text/plain; charset=utf-8"), ("retry-after", "1")))
_FAILED = Answer(b"internal server error", 500, (("content-type", "text/plain; charset=utf-8"),))


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        # Triton gives the model's own folder as its "repository".
        version_folder = Path(args["model_repository"]).resolve() / args["model_version"]
        manifest = read_manifest(version_folder / "manifest.json")
        start_logging(manifest.log_level, args["model_instance_name"])
        # A native crash, and the launcher's SIGABRT to a process that is stuck, tell of each thread's line of Python.
        faulthandler.enable()
        _leave_import_path(version_folder)
        enter_project(version_folder / "project", manifest.python_path, manifest.env, manifest.processes_per_replica)
        self._streaming = manifest.streaming
        self._told_of_whole_streams = False
        self._core_metrics: CoreMetrics | None = None
        self._after_answer = AfterAnswer()
        self._usual_time = UsualTime()
        batching = manifest.server_side_batching
        dispatch = manifest.dispatch
        threads = dispatch.threads if dispatch is not None else manifest.threads_per_process
        threads = batches_at_once(batching, threads) if batching else threads
        self._adopt_state: Callable[[], None] | None = None
        passes = dispatch is not None and dispatch.kind == "passed turn"
        self._in_execute = dispatch is not None and dispatch.in_execute and not manifest.streaming
        self._turn = TurnThreads(threads, self._begin_thread) if passes else None
        self._threads = self._turn or PredictThreads(threads, self._begin_thread)
        # Beside other processes, one takes no more than it is at: what waits, waits in Triton for whichever is free.
        self._shares = manifest.processes_per_replica > 1
        at_once = threads * (batching.max_batch_size if batching else 1)
        self._in_flight = Places(at_once if self._shares else manifest.max_replica_concurrency)
        # With the passed turn no two of the user's lines run side by side, so each thread has a loop of its own.
        self._common_loop = CommonLoop() if threads > 1 and self._turn is None else None
        self._deadlines = Deadlines(threads, at_least_s=manifest.request_timeout_s)
        # On a thread that predicts: if that is the only one, as in Cortex, what __init__ bound to its thread (a
        # database connection, torch.set_grad_enabled) is there in predict.
        if self._in_execute:
            self._create_predictor(manifest, version_folder)
        else:
            self._threads.run(self._create_predictor, manifest, version_folder)
        self._batches: BatchedPredictions | None = None
        if batching:
            self._batches = BatchedPredictions(
                self._predictor, self._loaded, batching, self._deadlines, self._after_answers
            )
            for _ in range(threads):
                self._threads.submit(self._batches.run)

    def execute(self, requests: list[Any]) -> list[Any] | None:
        if self._in_execute:
            return [self._answer_call(request) for request in requests]
        for request in requests:
            self._start_call(request, request.get_response_sender())
        if self._shares:
            # Triton gives this process the next request when this returns: not before it can begin with it.
            self._in_flight.take(wait=True)
            self._in_flight.give_back()
        # What Triton wants of a decoupled model, and of any other.
        return None if self._streaming else [None] * len(requests)

    def finalize(self) -> None:
        """What is in flight is answered first, and what is to be done after an answer is done."""
        if self._batches is not None:
            self._batches.close()
        self._threads.shutdown()
        self._after_answer.drain()
        if self._common_loop is not None:
            self._common_loop.close()
        if self._core_metrics is not None:
            self._core_metrics.stop()

    def _begin_thread(self) -> None:
        if self._turn is not None and self._adopt_state is not None:
            self._adopt_state()

    def _create_predictor(self, manifest: Manifest, version_folder: Path) -> None:
        project = version_folder / "project"
        self._client = None if manifest.models is None else PythonClient(project, manifest.models)
        self._later: LaterExchange | None = None
        self._loaded = load_predictor_class(
            project,
            manifest.predictor,
            manifest.python_path,
            has_models=self._client is not None,
            nan_as_null=manifest.nan_as_null,
        )
        self._predictor = create_predictor(self._loaded, manifest.config, self._client)
        self._adopt_state = capture_thread_state()
        if manifest.cores:
            self._core_metrics = CoreMetrics(manifest.name)
            parts = (self._predictor, self._loaded.module, manifest, version_folder, call_remote)
            if self._client is None:
                self._core_metrics.watch(exchange_cores(*parts, self._turn))
            else:
                alone = manifest.threads_per_process == 1 and self._loaded.post_predict_arguments is None
                self._later = LaterExchange(self._client, *parts, alone=alone, tell=self._core_metrics.watch)
                self._later.look_again()
            self._core_metrics.start()
        # What loading left behind is looked through now, which takes torch's many objects 80 ms, and not in a request.
        gc.collect()

    def _answer_call(self, request: Any) -> Any:
        """The response to a call; None where it was sent, since there is something to do after it."""
        wanted, predictions = _read_call(request)
        if isinstance(predictions, Answer):
            return response_of([predictions], wanted)
        arrivals = [Arrival(prediction, request.is_cancelled, self._usual_time) for prediction in predictions]
        results = [self._answer(arrival) for arrival in arrivals]
        answers = [result for result in results if isinstance(result, Answer)]  # all of them: it does not stream
        if all(answer.background is None for answer in answers):
            return response_of(answers, wanted)
        send_answers(request.get_response_sender(), answers, wanted)
        self._after_answers(answers)
        return None

    def _start_call(self, request: Any, sender: Any) -> None:
        """Give each prediction of the call to a thread. Every way out of here answers the call once."""
        wanted, predictions = _read_call(request)
        if isinstance(predictions, Answer):
            self._reply(sender, wanted, [predictions])
            return
        finishes = finish_each(len(predictions), partial(self._reply, sender, wanted))
        for prediction, finish in zip(predictions, finishes, strict=True):
            arrival = Arrival(prediction, sender.is_cancelled, self._usual_time)
            if not self._in_flight.take(wait=self._shares):
                finish(_OVERLOADED)
            elif self._batches is not None:
                self._gather(self._batches, arrival, finish)
            else:
                self._threads.submit(self._predict, arrival, finish, sender)

    def _reply(self, sender: Any, wanted: Container[str], answers: list[Answer]) -> None:
        if self._streaming:
            send_answer(sender, answers[0])
        else:
            send_answers(sender, answers, wanted)

    def _gather(self, batches: BatchedPredictions, arrival: Arrival, finish: Finish) -> None:
        try:
            request = request_from_context(arrival.prediction.payload, arrival.prediction.context)
            if request.method == "GET":
                self._deliver(finish, self._describe_models())
            else:
                batches.add(request, arrival, partial(self._deliver, finish))
        except BadRequest as problem:
            self._deliver(finish, answer_bad_request(problem))
        except Exception:
            _LOGGER.exception("a request could not be read")
            self._deliver(finish, _FAILED)

    def _predict(self, arrival: Arrival, finish: Finish, sender: Any) -> None:
        result = self._answer(arrival)
        if isinstance(result, Answer):
            self._deliver(finish, result)
        elif not send_stream(sender, result, self._in_flight.give_back, partial(self._log, arrival)):
            # As after an answer that is an error.
            result = replace(result, background=None)
        self._after_answers([result])

    def _after_answers(self, answers: Sequence[Answer | Stream]) -> None:
        works = [result.background for result in answers if result.background is not None]
        if not works and self._later is None:
            return
        with self._deadlines.within(None):
            for work in works:
                self._after_answer.run(work)
            if self._later is not None:
                self._later.look_again()

    def _describe_models(self) -> Answer:
        """What GET tells of models, in JSON; the facade puts it into Cortex's message. The launcher asks for it to see
        whether a process answers."""
        models = {} if self._client is None else self._client.describe()
        return Answer(json.dumps(models).encode(), 200, (("content-type", "application/json"),))

    def _deliver(self, finish: Finish, result: Answer) -> None:
        # Before the answer goes out: its client's next request must find the place free.
        self._in_flight.give_back()
        finish(result)

    def _answer(self, arrival: Arrival) -> Answer | Stream:
        """The answer to a prediction, timed. Never raises."""
        waited_s = arrival.stopwatch.start()
        try:
            request = request_from_context(arrival.prediction.payload, arrival.prediction.context)
            if arrival.is_given_up(request, waited_s):
                return TOO_LATE
            if request.method == "GET":
                return self._describe_models()
            answer_request = begin_answer if self._streaming else answer
            with self._deadlines.within(request.timeout_s):
                result = answer_request(self._predictor, self._loaded, request)
            if isinstance(result, Stream):
                rest = self._deadlines.each_within(request.timeout_s, result.rest)
                return replace(result, rest=rest, timing=arrival.read_time())
            if result.error is not None:
                self._log(arrival, result.error)
            if result.streamed:
                self._tell_of_whole_streams()
            return replace(result, timing=arrival.read_time())
        except BadRequest as problem:
            return answer_bad_request(problem)
        except BaseException:
            # The client of a call without an answer waits for ever, so not even this may pass.
            _LOGGER.exception("a prediction ended in an unexpected way")
            return _FAILED

    def _tell_of_whole_streams(self) -> None:
        if not self._told_of_whole_streams:
            self._told_of_whole_streams = True
            _LOGGER.info(
                "predict returned a stream, which is sent whole; compiled again with compile.streaming: true in"
                " cortex.yaml, it is sent chunk by chunk"
            )

    def _log(self, arrival: Arrival, error: BaseException) -> None:
        request = request_from_context(arrival.prediction.payload, arrival.prediction.context)
        project = self._loaded.project
        # A PredictorError tells all in its line.
        traceback = user_traceback(error, project) or (None if isinstance(error, PredictorError) else error)
        told = describe_error(error, project)
        _LOGGER.error("request %r: %s", request.header("x-request-id"), told, exc_info=traceback)


def _read_call(request: Any) -> tuple[Container[str], tuple[PredictionBytes, ...] | Answer]:
    """The outputs that are wanted, and the predictions that are asked for, or an answer where those cannot be read."""
    wanted: Container[str] = OUTPUTS
    try:
        wanted = request.requested_output_names()
        return wanted, _read_predictions(request)
    except BadRequest as problem:
        return wanted, answer_bad_request(problem)
    except Exception:
        _LOGGER.exception("a call could not be read")
        return wanted, _FAILED


def _read_predictions(request: Any) -> tuple[PredictionBytes, ...]:
    """
    Raises:
        BadRequest: lengths that do not add up.
    """
    tensors = {tensor.name(): tensor for tensor in request.inputs()}
    context = bytes_from(tensors["context"]) if "context" in tensors else None
    sizes = array_from(tensors["_sizes"]) if "_sizes" in tensors else None
    return split_call(bytes_from(tensors["payload"]), context, sizes)


def _leave_import_path(version_folder: Path) -> None:
    """Triton put the version folder and its parent on the path; the runtime's files are no modules of the user's."""
    ours = {str(version_folder), str(version_folder.parent)}
    # What is imported later comes from here, too, when the folder's name has come to stand for another build.
    package = sys.modules[__package__]
    package.__path__ = [os.path.realpath(folder) for folder in package.__path__]
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.realpath(entry) not in ours]
