"""Progress for people on stderr: one moving line in a terminal, one line a step elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is being done now; the steps that took a second or more stay, with their time.

    A predictor's own prints go to stderr too, so nothing is drawn over them.
    """
    if not sys.stderr.isatty():
        yield lambda step: print(f"{what}: {step}", file=sys.stderr, flush=True)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    last: tuple[str, float] | None = None

    def finish() -> None:
        if last is not None and time.monotonic() - last[1] >= 1.0:
            console.print(f"  [dim]{time.monotonic() - last[1]:5.1f} s[/]  {last[0]}", markup=True)

    console.print(f"[bold]{what}[/]")
    with console.status("") as status:

        def tell(step: str) -> None:
            nonlocal last
            finish()
            last = (step.replace("[", r"\["), time.monotonic())
            status.update(last[0])

        yield tell
        finish()
