"""Large pages for the heap of tritonserver and its Python processes, where the system gives them on request.

What an engine multiplies lies in megabytes of heap, and between two requests others have used the processor's table of
pages: with pages of 2 MiB an encoder of MiniLM's size on one core answers some per cent more, for some MiB of memory
(docs/benchmarks.md says how to see it). glibc asks for them since 2.35 (``glibc.malloc.hugetlb``); another C library
does not read this.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["with_large_pages"]

_TUNABLES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def with_large_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with that in it; what it says of glibc already is kept."""
    return {**_TUNABLES, **environment}
