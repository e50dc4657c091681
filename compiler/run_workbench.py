"""Have every candidate tried in a child process; one that crashes or hangs is refused, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from cortex_compile.compiler.artifacts import (
    Attempt,
    Candidate,
    ChosenCore,
    ModuleRecord,
    Precision,
    Project,
    Trial,
)
from cortex_compile.compiler.isolation import Ended, run_child
from cortex_compile.compiler.workbench import WorkRequest, reproduce_command
from cortex_compile.errors import PredictorError
from cortex_compile.python_backend.records import from_json

Tell = Callable[[str], None]
Stage = Literal["export", "verify", "measure"]

_WORDS = {"export": "export", "verify": "prove equal", "measure": "measure"}


def run_workbench(
    project: Project, work_folder: Path, threads: int, reproduce: str, only: str | None, fresh: bool, tell: Tell
) -> Trial:
    """
    Raises:
        PredictorError: the predictor itself does not load or does not answer a sample.
    """
    finished: tuple[Candidate, ...] = ()
    while True:
        request = WorkRequest(project, work_folder, threads, reproduce, only, fresh, finished)
        run = _Run(tell)
        child = run_child(
            "cortex_compile.compiler.workbench", request, work_folder / "request.json", project.settings.step_timeout_s
        )
        with closing(child) as messages:
            for message in messages:
                if isinstance(message, Ended):
                    run.ended = message
                else:
                    run.hear(message)
        if run.ended.reason is None:
            return Trial(
                tuple(run.modules),
                tuple(run.candidates),
                tuple(run.cores),
                run.versions,
                tuple(run.notices),
                run.streaming,
                run.outside,
                run.peak_mib,
            )
        if run.under_way is None:
            raise PredictorError(
                f"{project.folder / project.predictor}: the process that ran it stopped at the step {run.step!r} "
                f"({run.ended.reason}); what it printed is above"
            )
        known = {candidate.key: candidate for candidate in (*finished, *run.candidates)}
        crashed = run.crashed(project, reproduce)
        finished = (*known.values(), crashed)
        tell(f"{run.under_way['path']}: {crashed.attempt.reason}; going on without it")


class _Run:
    """What one run of the workbench has told so far."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.modules: list[ModuleRecord] = []
        self.candidates: list[Candidate] = []
        self.cores: list[ChosenCore] = []
        self.versions: dict[str, str] = {}
        self.notices: list[str] = []
        self.streaming = False
        self.peak_mib = 0.0
        self.outside: dict[str, tuple[int, int]] = {}
        self.under_way: dict[str, str] | None = None
        self.step = "start"
        self.ended = Ended(None)

    def hear(self, message: dict[str, Any]) -> None:
        ((kind, value),) = message.items()
        if kind == "step":
            self.under_way = None
            self.step = value
            self._tell(value)
        elif kind == "candidate_step":
            self.under_way = value
            self._tell(f"{value['path']}: {_WORDS[value['stage']]} ({value['key'].rpartition('/')[2]})")
        elif kind == "module":
            self.modules.append(from_json(ModuleRecord, value))
        elif kind == "candidate":
            self.under_way = None
            self.candidates.append(from_json(Candidate, value))
        elif kind == "core":
            self.cores.append(from_json(ChosenCore, value))
        elif kind == "versions":
            self.versions = value
        elif kind == "notice":
            self.notices.append(value)
        elif kind == "streaming":
            self.streaming = value
        elif kind == "peak_mib":
            self.peak_mib = value
        elif kind == "outside":
            self.outside = {path: (size, changed) for path, (size, changed) in value.items()}

    def crashed(self, project: Project, reproduce: str) -> Candidate:
        assert self.under_way is not None
        module, variant, label = self.under_way["key"].split("/")
        engine, _, reduced = label.partition("-")
        precision: Precision = reduced or "fp32"  # type: ignore[assignment]
        stage: Stage = self.under_way["stage"]  # type: ignore[assignment]
        command = reproduce_command(reproduce, self.under_way["path"], engine, precision)
        return Candidate(module, variant, Attempt(engine, stage, self.ended.reason or "", command, precision=precision))
