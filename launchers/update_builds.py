"""A build takes the place of another on a server that runs, without a request being lost.

The new one is tried under a name of its own first: it must load, and answer its samples as it did when it was compiled.
Only then it is loaded under the API's name. Triton starts and warms up the new processes, lets requests go to them, and
ends the old ones when they have answered what they are at; if they do not start, the old ones never notice.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cortex_compile.errors import LaunchError, ServiceError, UsageError
from cortex_compile.launchers.adapt_models import SampleRequest, adapt_models, set_warm_up
from cortex_compile.launchers.model_control import ModelControl
from cortex_compile.launchers.served_folder import BuildCopy, ServedFolder
from cortex_compile.launchers.stubs import StubList, read_process
from cortex_compile.python_backend.manifest import Manifest, read_manifest

__all__ = ["AskSample", "BuildUpdates", "ReadSamples"]

# A warm-up is on disk once more, and each instance is busy with it.
_MOST_WARM_UPS = 8
_LARGEST_WARM_UP_BYTES = 4 * 2**20
# Beyond what its last request may take.
_END_S = 15.0
_LOOK_EVERY_S = 0.1

ReadSamples = Callable[[Path, Manifest], Sequence[SampleRequest]]
"""The samples of a build."""
AskSample = Callable[[str, Manifest, SampleRequest], int]
"""(Triton model, its manifest, sample) -> the status of the answer, all of which has come. Raises LaunchError."""
Tell = Callable[[str], None]


class UpdatedServer(Protocol):
    """What an update asks of the server."""

    folders: tuple[ServedFolder, ...]
    server_pid: int | None

    @property
    def control(self) -> ModelControl:
        """The models of the server that runs."""
        ...

    def leave_alone(self, pids: Iterable[int]) -> None:
        """Processes of models whose place others have taken: what becomes of them is no fault of the model's."""
        ...

    def models_changed(self) -> None:
        """The folders show other models than before, for the next start of the server."""
        ...


class BuildUpdates:
    """The builds of one server. May be called from any thread; one update is under way at a time.

    Args:
        check: raises CortexCompileError if the builds could not be served together with this one.
        served: is called when requests go to another build than before, which is ``folder.current`` then.
    """

    def __init__(
        self,
        server: UpdatedServer,
        read_samples: ReadSamples,
        ask: AskSample,
        check: Callable[[BuildCopy], None],
        served: Callable[[BuildCopy], None],
    ) -> None:
        self._folders = {folder.current.manifest.name: folder for folder in server.folders}
        self._server = server
        self._read_samples = read_samples
        self._ask = ask
        self._check = check
        self._served = served
        self._lock = threading.Lock()

    def update(self, build: Path, tell: Tell) -> None:
        """Have ``build`` take the place of the build of its name. If it cannot, all is as it was.

        Raises:
            BuildError: it is none, or is damaged.
            LaunchError: it does not load, or does not answer its samples as it did when it was compiled.
            ServiceError: another update is under way, or Triton does not answer.
            UsageError: no API of its name is served, or it cannot be served here.
        """
        with self._alone():
            self._replace(self._folder_of(read_manifest(build / "manifest.json").name), build, tell)

    def go_back(self, name: str, tell: Tell) -> None:
        """Have the build take the place again that the present one has replaced. A second time comes back to this one.

        Raises:
            CortexCompileError: as ``update``; UsageError too where there was no update.
        """
        with self._alone():
            folder = self._folder_of(name)
            if folder.previous is None:
                raise UsageError(f"{name!r} was not updated since it is served, so there is nothing to go back to")
            self._replace(folder, folder.previous.build, tell)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise ServiceError("another update of this server is under way; try again when it is done")
        try:
            yield
        finally:
            self._lock.release()

    def _folder_of(self, name: str) -> ServedFolder:
        if name not in self._folders:
            raise UsageError(f"no API {name!r} is served here; there are {', '.join(map(repr, self._folders))}")
        return self._folders[name]

    def _replace(self, folder: ServedFolder, build: Path, tell: Tell) -> None:
        old = folder.current
        tell("Checking its files.")
        new = folder.take(build)
        try:
            if new.manifest.streaming != old.manifest.streaming:
                raise UsageError(
                    f"one of the two builds of {old.manifest.name!r} streams and the other does not, which clients of"
                    " Triton would have to know; stop `serve` and start it with the new build"
                )
            self._check(new)
            adapt_models(new)
            samples = self._read_samples(new.build, new.manifest)
            self._try(folder, new, samples, tell)
            replaced = self._exchange(folder, old, new, samples, tell)
        except BaseException:
            self._unload(folder, list(new.cores))
            shutil.rmtree(new.folder, ignore_errors=True)
            raise
        self._finish(folder, old, replaced, tell)

    def _try(self, folder: ServedFolder, new: BuildCopy, samples: Sequence[SampleRequest], tell: Tell) -> None:
        """Load it beside the old one, under another name, and ask its samples."""
        for name, model in new.cores.items():
            tell(f"Loading {name}.")
            folder.show(name, model)
            self._server.control.load(name)
        candidate = f"{new.manifest.name}--candidate"
        tell(f"Loading {new.manifest.name} beside the one that serves.")
        folder.show(candidate, new.models[new.manifest.name])
        try:
            self._server.control.load(candidate)
            tell(f"Asking it {len(samples)} samples." if samples else "There are no samples to ask it.")
            stubs = self._stubs_of(candidate)
            for sample in samples:
                status = self._ask_while_alive(candidate, new.manifest, sample, stubs)
                if status != sample.status_code:
                    raise LaunchError(
                        f"{str(new.manifest.name)!r} answered its sample {sample.name!r} with {status}, where"
                        f" {sample.status_code} is right; the server's log says why"
                    )
        finally:
            self._unload(folder, [candidate])
            self._end_stubs(self._stubs_of(candidate), timeout_s=_END_S)

    def _ask_while_alive(self, model: str, manifest: Manifest, sample: SampleRequest, stubs: set[int]) -> int:
        """The status of the answer.

        Raises:
            LaunchError: there is none; of a process that has died, Triton never says so.
        """
        answers: queue.SimpleQueue[int | LaunchError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._ask(model, manifest, sample))
            except LaunchError as error:
                answers.put(error)

        threading.Thread(target=ask, daemon=True).start()
        while True:
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=_LOOK_EVERY_S)
                if isinstance(answer, LaunchError):
                    raise answer
                return answer
            if any(not _runs(pid) for pid in stubs):
                raise LaunchError(
                    f"a process of {manifest.name!r} died at its sample {sample.name!r}; the server's log may say why"
                )

    def _exchange(
        self, folder: ServedFolder, old: BuildCopy, new: BuildCopy, samples: Sequence[SampleRequest], tell: Tell
    ) -> set[int]:
        """Load it in the old one's place. The processes of the old one, which is at its last requests."""
        name = new.manifest.name
        replaced = self._stubs_of(name)
        # Whatever streams is not warmed up: Triton 2.51 waits for one response.
        fit = [sample for sample in samples if len(sample.payload) <= _LARGEST_WARM_UP_BYTES]
        set_warm_up(new, [] if new.manifest.streaming else fit[:_MOST_WARM_UPS])
        tell("It takes the place of the one that serves.")
        folder.show(name, new.models[name])
        try:
            self._server.control.load(name)
        except BaseException:
            folder.show(name, old.models[name])
            raise
        self._server.leave_alone(replaced)
        folder.current = new
        # A server that has to be started again has no cores to call until it has started.
        set_warm_up(new, [])
        return replaced

    def _finish(self, folder: ServedFolder, old: BuildCopy, replaced: set[int], tell: Tell) -> None:
        forgotten, folder.previous = folder.previous, old
        tell("Requests go to it. The old one answers what it is at.")
        self._server.models_changed()
        self._served(folder.current)
        self._end_stubs(replaced, old.manifest.request_timeout_s + _END_S)
        # Until now the old predictor called them.
        self._unload(folder, list(old.cores))
        self._server.models_changed()
        if forgotten is not None:
            shutil.rmtree(forgotten.folder, ignore_errors=True)

    def _unload(self, folder: ServedFolder, names: Sequence[str]) -> None:
        for name in names:
            with contextlib.suppress(ServiceError):  # it was not loaded, or there is no Triton that holds it
                self._server.control.unload(name)
            folder.hide(name)

    def _stubs_of(self, model: str) -> set[int]:
        stubs = StubList()
        stubs.follow(self._server.server_pid)
        stubs.look_for_new()
        return {stub.pid for stub in stubs.of_model(model)}

    def _end_stubs(self, pids: set[int], timeout_s: float) -> None:
        """Wait until these have ended; what is still there then is stuck, and killed."""
        deadline = time.monotonic() + timeout_s
        while (left := {pid for pid in pids if _runs(pid)}) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and not process.has_ended
