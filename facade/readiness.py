"""Whether a load balancer should send requests here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .api_route import ApiRoute
from .core_figures import CoreFigures
from .settings import FacadeSettings
from .triton_client import TritonPredictorClient

__all__ = ["Readiness"]

_SERVER = ""
# While Triton is asked, the launcher may find that it is not there.
_LOOK_EVERY_S = 0.1


class Readiness:
    """Ready while Triton and every predictor's model are, until it is turned off for good."""

    def __init__(
        self,
        apis: Sequence[ApiRoute],
        triton: TritonPredictorClient,
        cores: CoreFigures,
        settings: FacadeSettings,
        faults: Callable[[], Mapping[str, str]],
    ) -> None:
        self._names = [api.name for api in apis]
        self._triton = triton
        self._cores = cores
        self._timeout_s = settings.readiness_timeout_s
        self._faults = faults
        self._off_because: str | None = None

    def turn_off(self, reason: str) -> None:
        """Not ready from now on; the first reason stays."""
        self._off_because = self._off_because or reason

    async def check(self) -> dict[str, Any]:
        """``ready``, and why not: the JSON of /readyz.

        ``drift`` names compiled modules that stay eager, since they are not what was compiled: answers are right, and
        slower. None is not known. ``faults`` are what the launcher found of models that Triton holds for ready.
        """
        if self._off_because is not None:
            return {"ready": False, "reason": self._off_because}
        asked = asyncio.create_task(self._ask_triton())
        while _SERVER not in self._faults() and not asked.done():
            await asyncio.wait([asked], timeout=_LOOK_EVERY_S)
        if _SERVER in self._faults():
            # It would not answer, or not in time.
            asked.cancel()
            nothing = dict.fromkeys(self._names, False)
            return {"ready": False, "triton": False, "models": nothing, "drift": None, "faults": dict(self._faults())}
        server, models, drift = asked.result()
        faults = dict(self._faults())
        models_ready = {name: ready and name not in faults for name, ready in zip(self._names, models, strict=True)}
        ready = server and all(models_ready.values()) and not faults
        report = {"ready": ready, "triton": server, "models": models_ready, "drift": drift}
        return {**report, "faults": faults} if faults else report

    async def _ask_triton(self) -> tuple[bool, list[bool], Any]:
        """Whether it is ready, and each model; and which compiled modules are not what was compiled."""
        server, *models = await asyncio.gather(
            self._triton.is_server_ready(self._timeout_s),
            *(self._triton.is_model_ready(name, self._timeout_s) for name in self._names),
        )
        # Of a Triton that is not there, no metrics are missed.
        return server, models, await self._cores.drift() if server else None
