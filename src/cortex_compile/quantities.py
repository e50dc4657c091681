"""Durations, CPU and memory as Kubernetes, Go and so Cortex write them."""

from __future__ import annotations

import re

__all__ = ["parse_duration_s", "parse_quantity"]

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SCALES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_SCALES |= {f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTPE", start=1)}
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([a-zA-Z]*)")


def parse_duration_s(text: str) -> float:
    """Seconds of ``60s``, ``5m``, ``1h30m`` or ``100ms``.

    Raises:
        ValueError: it is not a duration.
    """
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError("a duration such as '60s', '5m' or '100ms'")
    return sum(float(part[1]) * _SECONDS[part[2]] for part in parts)


def parse_quantity(text: str) -> float:
    """The number that ``200m``, ``2``, ``0.5``, ``500Mi`` or ``2G`` stands for.

    Raises:
        ValueError: it is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SCALES:
        raise ValueError("a quantity such as '200m', '2' or '500Mi'")
    return float(match[1]) * _SCALES[match[2]]
