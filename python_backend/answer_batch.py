"""Several requests answered by one call of predict, as Cortex's server-side batching had it: every argument a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .answer import RAISED, Answer, answer_error, call, finish_answer
from .errors import PredictorError
from .load_predictor import LoadedClass
from .signatures import line_of_method

__all__ = ["answer_batch"]


def answer_batch(predictor: object, loaded: LoadedClass, batch: Sequence[dict[str, Any]]) -> list[Answer]:
    """Call predict once for requests whose arguments ``parse_arguments`` has read; one answer each, in their order.

    What goes wrong with the batch is the answer to each of its requests. What goes wrong with one result, that JSON
    cannot hold it for example, is the answer to that request alone.
    """
    try:
        offered = {name: [arguments[name] for arguments in batch] for name in loaded.predict_arguments}
        results = call(predictor, "predict", offered, loaded.predict_arguments)
        _check_results(results, len(batch), loaded)
    except RAISED as error:
        return [answer_error(error)] * len(batch)
    return [
        finish_answer(predictor, loaded, arguments, result) for arguments, result in zip(batch, results, strict=True)
    ]


def _check_results(results: Any, expected: int, loaded: LoadedClass) -> None:
    """
    Raises:
        PredictorError: not a list, or not as long as the batch.
    """
    place = f"{loaded.file}:{line_of_method(loaded.cls, 'predict')}: predict"
    if not isinstance(results, list):
        raise PredictorError(
            f"{place}: please return a list when using server side batching, got {type(results)}; it needs one result"
            " for each request of the batch, in their order"
        )
    if len(results) != expected:
        raise PredictorError(
            f"{place}: returned a list of {len(results)} for a batch of {expected} requests; return one result for each"
            " request, in their order"
        )
