"""Large pages for the heap of tritonserver and its Python processes, where the system gives them on request.

What an engine multiplies lies in megabytes of heap, and between two requests others have used the processor's table of
pages: with pages of 2 MiB an encoder of MiniLM's size on one core answers some per cent more, for some MiB of memory
(docs/benchmarks.md says how to see it). glibc asks for them since 2.35 (``glibc.malloc.hugetlb``), but for little else
than what lies in the one heap that grows from the end of the program; another C library does not read this.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["with_large_pages"]

# A larger block gets a mapping of its own. glibc begins with 128 KiB: most weights are larger, and few of them as large
# as a large page. It would go as far as this by itself, and then keep twice as much of what was freed.
_LARGEST_IN_HEAP_BYTES = 32 * 2**20

_SETTINGS = {
    "hugetlb": 1,
    "mmap_threshold": _LARGEST_IN_HEAP_BYTES,
    "trim_threshold": 2 * _LARGEST_IN_HEAP_BYTES,
    "arena_max": 1,  # a predictor is loaded by a thread, which would get a heap of its own, without large pages
}
_TUNABLES = ":".join(f"glibc.malloc.{name}={value}" for name, value in _SETTINGS.items())


def with_large_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with that in it; what it says of glibc already is kept."""
    return {"GLIBC_TUNABLES": _TUNABLES, **environment}
