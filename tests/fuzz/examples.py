"""How much is tried: a few thousand examples, the same in every run; FUZZ_EXAMPLES=100000 tries others, and so many.

What a run has found becomes an ``@example``. Such a long one needs pytest's ``--timeout=0``.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["examples"]

_TOTAL = 2000


def examples(share: float) -> settings:
    """Hypothesis' settings for a test that makes this part of all examples."""
    wanted = os.environ.get("FUZZ_EXAMPLES")
    return settings(
        max_examples=round(share * int(wanted or _TOTAL)),
        derandomize=wanted is None,
        print_blob=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
