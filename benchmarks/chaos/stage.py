"""Where a fault is played: a server, traffic on it, and what is found: counts, the time to healthy, limits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from .regularly import Regularly
from .server import Server
from .traffic import Sent, Traffic, count_kinds

__all__ = ["Check", "Fault", "Row", "Skipped", "Stage"]

AnyServer = TypeVar("AnyServer", bound=Server)

_LOOK_EVERY_S = 0.05
_QUIET_S = 1.0
"""So long nothing may go wrong before a server counts as healthy."""
_PATIENCE_S = 30.0
_FOLDERS = re.compile(r"(?<![\w/])/(?:[\w.+-]+/)+")
_STRIKES = 4
"""After so many a shared server is replaced: one that fails again and again is meant to end."""


class Skipped(Exception):
    """It cannot be played on this machine; the message says why."""


@dataclass(frozen=True)
class Check:
    """A limit: what it is of, what was found, whether it holds."""

    what: str
    found: str
    holds: bool


@dataclass
class Row:
    """What became of the requests of one fault, and of its limits."""

    name: str
    right: int = 0
    errors: int = 0
    wrong: int = 0
    lost: int = 0
    cut: int = 0
    healthy_s: float | None = None
    checks: list[Check] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    """Some of what went wrong, for who looks for the cause."""
    skipped: str = ""
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        return self.right + self.errors + self.wrong + self.lost + self.cut

    @property
    def held(self) -> bool:
        return not self.wrong and not self.lost and all(check.holds for check in self.checks)


@dataclass(frozen=True)
class Fault:
    """``breaks`` says what is broken and how, ``holds`` what must hold nevertheless, ``play`` does it."""

    name: str
    breaks: str
    holds: str
    play: Callable[[Stage], None]


class Stage:
    """Faults that leave a server healthy share one. ``row`` is that of the fault that is played."""

    def __init__(self, builds: Mapping[str, Path], quick: bool) -> None:
        self.builds = builds
        self.quick = quick
        self.row = Row("")
        self._shared: Server | None = None
        self._strikes = 0
        self.load_s = 0.0
        """How long the slowest predictor takes from the start of its process."""

    @property
    def server(self) -> Server:
        if self._strikes >= _STRIKES:
            self.end_shared_server()
        if self._shared is None or not self._shared.is_running():
            self._shared = self.new_server("near", "far", "slow", options=["--workers", "2"])
            self._strikes = 0
            self.load_s = max(self._shared.tell(api)["load_s"] for api in ("near", "far"))
        return self._shared

    def new_server(self, *apis: str, options: Sequence[str] = ()) -> Server:
        return Server([self.builds[api] for api in apis], options)

    def allowed_s(self, healthy_within_s: float) -> float:
        """Within which the server is to be healthy again, of what the fault's own part may take."""
        return healthy_within_s

    def end_shared_server(self) -> None:
        """What is played next gets a fresh one."""
        if self._shared is not None:
            self._shared.end()
            self._shared = None
            self._strikes = 0

    @contextmanager
    def own_server(self, server: AnyServer) -> Iterator[AnyServer]:
        """One that is used for this fault alone."""
        try:
            yield server
        finally:
            server.end()

    def check(self, what: str, found: object, holds: bool) -> None:
        shown = f"{found:.3g}" if isinstance(found, float) else _FOLDERS.sub("…/", str(found))
        self.row.checks.append(Check(what, shown, holds))

    def record(self, sent: Sequence[Sent], statuses: Sequence[int] = (), cut_before: float | None = None) -> list[Sent]:
        """Count requests. An error with another status than these is wrong, and what broke off later is lost."""
        judged = [_strictly(each, statuses, cut_before) for each in sent]
        kinds = count_kinds(judged)
        row = self.row
        row.right += kinds["right"]
        row.errors += kinds["error"]
        row.wrong += kinds["wrong"]
        row.lost += kinds["lost"]
        row.cut += kinds["cut"]
        bad = [f"{each.kind} {each.api}: {each.detail}" for each in judged if each.kind in ("wrong", "lost")]
        row.examples += list(dict.fromkeys(bad))[:5]
        return judged

    def strike(
        self,
        inject: Callable[[Server], object],
        *,
        server: Server | None = None,
        healthy_within_s: float | None = None,
        statuses: Sequence[int] = (503,),
        cuts: bool = False,
        told_within_s: float = 1.0,
        last_s: float = 0.0,
        undo: Callable[[Server], object] = lambda _: None,
        apis: Sequence[str] = ("near", "far"),
    ) -> float:
        """Traffic, ``inject``, ``undo`` after ``last_s``, and traffic until all is well for a second.

        Returns:
            How long that took since the fault began, or since ``undo`` where the fault lasts; it is checked against
            ``healthy_within_s``.
        """
        server = server or self.server
        self._strikes += healthy_within_s is None or healthy_within_s > 1.0
        with Traffic(server.url, apis, clients=3) as traffic, _Watch(server) as watch:
            time.sleep(0.7)
            began = time.monotonic()
            inject(server)
            struck = time.monotonic()
            if last_s:
                time.sleep(last_s)
                undo(server)
            over = time.monotonic() if last_s else began
            patience_s = _PATIENCE_S + 3 * self.load_s
            end = time.monotonic() + patience_s
            time.sleep(_QUIET_S)  # what was well before the fault says nothing
            while not _is_well(traffic.sent, watch, apis) and time.monotonic() < end:
                time.sleep(_LOOK_EVERY_S)
            well = _is_well(traffic.sent, watch, apis)
        judged = self.record(traffic.sent, statuses, struck + 0.1 if cuts else None)
        bad = [each for each in judged if each.kind != "right"]
        ended = max([each.ended for each in bad] + watch.not_ready, default=over)
        healthy_s = max(0.0, ended - over)
        self.row.healthy_s = max(self.row.healthy_s or 0.0, healthy_s) if well else None
        self.check("healthy again", "yes" if well else f"not within {patience_s:.0f} s", well)
        if well and healthy_within_s is not None:
            allowed_s = self.allowed_s(healthy_within_s)
            self.check(f"healthy within {allowed_s:.1f} s", f"{healthy_s:.2f} s", healthy_s <= allowed_s)
        untrue_s = _untrue_s(bad, watch, began + told_within_s)
        limit = f"/readyz tells the truth within {told_within_s:g} s"
        self.check(limit, f"{untrue_s:.2f} s untrue after that", untrue_s <= 0.2)
        return healthy_s


def _strictly(each: Sent, statuses: Sequence[int], cut_before: float | None) -> Sent:
    if each.kind == "error" and each.status not in statuses:
        return replace(each, kind="wrong")
    if each.kind == "cut" and (cut_before is None or each.began > cut_before):
        return replace(each, kind="lost")
    return each


class _Watch(Regularly):
    """Asks /readyz all the time: the moments when it was ready, and when it was not."""

    def __init__(self, server: Server) -> None:
        super().__init__(_LOOK_EVERY_S)
        self.ready: list[float] = []
        self.not_ready: list[float] = []
        self._server = server

    def look(self) -> None:
        found = self._server.readiness()
        (self.ready if found else self.not_ready).append(time.monotonic())


def _is_well(sent: Sequence[Sent], watch: _Watch, apis: Sequence[str]) -> bool:
    """Ready and answering on every API, and nothing else, for a second."""
    since = time.monotonic() - _QUIET_S
    recent = [each for each in list(sent) if each.ended > since]
    answering = {each.api for each in recent if each.kind == "right" and each.began > since - 0.5}
    ready = bool(watch.ready) and watch.ready[-1] > since and (not watch.not_ready or watch.not_ready[-1] < since)
    return ready and answering == set(apis) and all(each.kind == "right" for each in recent)


def _untrue_s(bad: Sequence[Sent], watch: _Watch, since: float) -> float:
    """How long /readyz said yes from then on, while requests that were sent then failed."""
    last_failed = max((each.began for each in bad), default=since)
    untrue = [moment for moment in watch.ready if since < moment < last_failed - 0.1]
    return len(untrue) * _LOOK_EVERY_S
