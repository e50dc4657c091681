"""That the facade's supervisor hears what it is told to look for, and does not only find it at its next look."""

from __future__ import annotations

import signal
import threading
import time

from cortex_compile.facade.supervisor import FacadeSupervisor

LONG_S = 30.0


def test_it_looks_again_when_it_is_told_to() -> None:
    with FacadeSupervisor([]) as supervisor:
        began_s = time.monotonic()
        threading.Timer(0.05, supervisor.look_again).start()
        supervisor._wait_for_events(LONG_S)
        supervisor._note_signal(signal.SIGTERM, None)
        supervisor._wait_for_events(LONG_S)
        assert time.monotonic() - began_s < LONG_S
        supervisor._wait_for_events(0.01)  # once for each time
