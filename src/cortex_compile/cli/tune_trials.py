"""One trial of `tune`: a configuration of a build served, its answers checked, load in windows."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cortex_compile.cli.load import Load, Shot, percentile_ms, run_load
from cortex_compile.cli.serve_child import serving
from cortex_compile.errors import ServiceError

if TYPE_CHECKING:
    from cortex_compile.compiler.tolerances import Tolerance
    from cortex_compile.compiler.tune_record import Configuration
    from cortex_compile.compiler.tune_search import Window
    from cortex_compile.python_backend.answer import Answer

__all__ = ["Trials"]

_WARM_UP_S = 1.0
_TIMEOUT_S = 120.0


@dataclass
class Trials:
    """Trials of one build; the first tells what the answers are. ``work`` is a folder to write into."""

    build: Path
    name: str
    shots: Sequence[Shot]
    tolerance: Tolerance
    clients: int
    window_s: float
    work: Path
    changing: list[int] = field(default_factory=list)
    """Shots that are not answered the same twice, so their answers are not compared."""
    _expected: list[Answer] = field(default_factory=list)
    _equal: list[set[bytes]] = field(default_factory=list)

    def measure(self, configuration: Configuration) -> Generator[Window]:
        """
        Raises:
            ServiceError: a request failed, or was answered otherwise than by the build as it was.
            LaunchError: it does not start.
        """
        from cortex_compile.compiler.reconfigure_build import reconfigure_build

        with tempfile.TemporaryDirectory(dir=self.work, prefix="trial-") as folder:
            Path(folder).chmod(0o755)
            build = Path(folder) / "build"
            reconfigure_build(self.build, build, configuration)
            log = self.work / "server.log"
            with serving(build, self.name, log=log) as url, _with_complaint(log):
                self._check_answers(url)
                self._load(url, min(_WARM_UP_S, self.window_s))
                while True:
                    yield self._load(url, self.window_s)

    def _load(self, url: str, seconds: float) -> Window:
        from cortex_compile.compiler.tune_search import Window

        outcome = run_load(url, self.shots, Load(clients=self.clients), seconds, _TIMEOUT_S, self._judge)
        if outcome.failed or not outcome.latencies_ms:
            what = "; ".join(f"{count} × {reason}" for reason, count in outcome.failed.items()) or "no answer at all"
            raise ServiceError(f"requests went wrong: {what}")
        return Window(outcome.per_second, percentile_ms(outcome, 0.5), percentile_ms(outcome, 0.99))

    def _check_answers(self, url: str) -> None:
        first = not self._expected
        if first:
            self._expected = [_ask(url, shot) for shot in self.shots]
            self._equal = [{answer.body} for answer in self._expected]
        for index, shot in enumerate(self.shots):
            answer = _ask(url, shot)
            problem = self._difference(index, answer)
            if problem is not None and first:
                self.changing.append(index)
            elif problem is not None and index not in self.changing:
                raise ServiceError(f"a wrong answer: {problem}")

    def _judge(self, index: int, body: bytes) -> str | None:
        from dataclasses import replace

        if index in self.changing or body in self._equal[index]:
            return None
        problem = self._difference(index, replace(self._expected[index], body=body))
        if problem is None:
            self._equal[index].add(body)
            return None
        return f"a wrong answer: {problem}"

    def _difference(self, index: int, answer: Answer) -> str | None:
        from cortex_compile.compiler.compare_answers import worst_of_answers
        from cortex_compile.compiler.report_words import answer_difference_in_words

        worst = worst_of_answers(self._expected[index], answer, self.tolerance)
        return None if worst.excess <= 1 else answer_difference_in_words(worst)


@contextlib.contextmanager
def _with_complaint(log: Path) -> Iterator[None]:
    """What goes wrong is told with the last error in the server's log, which is gone afterwards."""
    try:
        yield
    except ServiceError as error:
        complaints = re.findall(r"^\S+ E (.*)$", log.read_text(errors="replace"), re.MULTILINE)
        raise ServiceError(f"{error}; the server's log says: {complaints[-1]}" if complaints else str(error)) from error


def _ask(url: str, shot: Shot) -> Answer:
    import httpx

    from cortex_compile.python_backend.answer import Answer

    address = f"{url}?{shot.query}" if shot.query else url
    headers = {"content-type": shot.content_type, "accept-encoding": "identity"}
    try:
        response = httpx.post(address, content=shot.body, headers=headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise ServiceError(f"no answer ({error})") from None
    if response.status_code >= 400:
        raise ServiceError(f"a sample is answered {response.status_code}; `cortex-compile predict` shows it")
    return Answer(response.content, response.status_code, (("content-type", response.headers.get("content-type", "")),))
