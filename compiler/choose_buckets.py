"""The sizes to which calls are filled up so that they share a batch: a pure function of the sizes in the samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

# Buckets are multiples of this: calls that differ by less are all alike to a processor.
STEP = 8
# A bucket is at most twice the one before (and what rounding adds): with more of them less is computed in vain, and
# fewer calls meet. Nor are two of the samples' sizes kept that are this near to each other.
LARGEST_FACTOR = 2.0
SMALLEST_FACTOR = 1.25


def choose_buckets(seen: Sequence[int], largest: int) -> tuple[int, ...]:
    """The samples' own sizes, rounded up, with others between, below and above them where they are far apart.

    The last is ``largest``, so every size that may be filled up has a bucket.
    """
    kept = [largest]
    for size in sorted({STEP, *(_rounded_up(size) for size in seen if size > 0)}, reverse=True):
        if size * SMALLEST_FACTOR <= kept[-1]:
            kept.append(size)
    kept.reverse()
    buckets = {kept[0]}
    for below, above in itertools.pairwise(kept):
        buckets |= {*_between(below, above), above}
    return tuple(sorted(buckets))


def _between(below: int, above: int) -> Iterator[int]:
    steps = math.ceil(math.log(above / below, LARGEST_FACTOR))
    for number in range(1, steps):
        size = _rounded_up(math.floor(below * (above / below) ** (number / steps)))
        if size < above:
            yield size


def _rounded_up(size: int) -> int:
    return -(-size // STEP) * STEP
