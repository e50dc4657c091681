"""From a request to the predictor's answer. Nothing of HTTP's wire is here."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .api_route import ApiRoute
from .errors import error_of_triton, overloaded
from .headers import RawHeaders
from .settings import FacadeSettings
from .triton_client import PredictorAnswer, TritonCallError, TritonPredictorClient

__all__ = ["PredictionService", "context_of"]

_log = logging.getLogger(__name__)


class PredictionService:
    """One API: asks its model, never more often at a time than the API allows."""

    def __init__(self, api: ApiRoute, triton: TritonPredictorClient, settings: FacadeSettings) -> None:
        self.api = api
        self._triton = triton
        self._timeout_s = settings.request_timeout_s
        self._in_flight = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Be one of the requests in flight.

        Raises:
            HttpError: there are as many as the API allows.
        """
        if self._in_flight >= self.api.max_concurrency:
            raise overloaded(self.api.max_concurrency)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def predict(self, body: bytes, query_string: bytes, headers: RawHeaders) -> PredictorAnswer:
        """
        Raises:
            HttpError: Triton gave no answer of the predictor's.
        """
        try:
            context = context_of(query_string, headers)
            return await self._triton.predict(self.api.name, body, context, self._timeout_s)
        except TritonCallError as failure:
            error = error_of_triton(failure.code, failure.details)
            request_id = dict(headers).get(b"x-request-id", b"").decode("latin-1")
            _log.error("%s: request %s answered with %d: %s", self.api.name, request_id, error.status_code, failure)
            raise error from failure


def context_of(query_string: bytes, headers: RawHeaders) -> bytes:
    content_type = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), None)
    context = {
        "content_type": content_type,
        "query_string": query_string.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers],
    }
    return json.dumps(context).encode()
