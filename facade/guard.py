"""Who may ask, and how often at a time. It outlives the APIs behind it, which an update exchanges."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp

from .api_keys import ApiKey, ApiKeys
from .client_counts import ClientCounts
from .client_limit import ClientLimit
from .require_key import RequireKey
from .settings import FacadeSettings

__all__ = ["Guard"]


class Guard:
    """What is off by ``settings`` is not in the way of a request.

    Args:
        keys: those that are valid; with ``settings.api_keys`` and none of them, nobody may ask.
        counts: those of clients that the facade's workers share, where it has several.
    """

    def __init__(
        self, settings: FacadeSettings, keys: Sequence[ApiKey] = (), counts: ClientCounts | None = None
    ) -> None:
        limit = settings.max_client_concurrency
        self._limit = None if limit is None else ClientLimit(limit, counts)
        self._keys = None if settings.api_keys is None else ApiKeys(keys)

    @property
    def is_open(self) -> bool:
        """Whether everybody may ask at any time."""
        return self._limit is None and self._keys is None

    def take_keys(self, keys: Sequence[ApiKey]) -> None:
        """These are valid from now on, and no others."""
        if self._keys is not None:
            self._keys.keys = keys

    def around(self, app: ASGIApp) -> ASGIApp:
        """``app`` for those who may ask."""
        if self._limit is not None:
            app = self._limit.around(app)
        return app if self._keys is None else RequireKey(app, self._keys)
