"""What ``__init__`` set for its own thread, for the other threads that run ``predict``.

With one thread both run on the same one, so ``torch.set_grad_enabled(False)`` in ``__init__`` counts in ``predict``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import copy_context

__all__ = ["capture_thread_state"]


def capture_thread_state() -> Callable[[], None]:
    """This thread's context variables, and whether torch records gradients. On another it sets them."""
    variables = dict(copy_context())
    torch = sys.modules.get("torch")
    gradients = torch.is_grad_enabled() if torch is not None else True

    def adopt() -> None:
        for variable, value in variables.items():
            variable.set(value)
        if torch is not None:
            torch.set_grad_enabled(gradients)

    return adopt
