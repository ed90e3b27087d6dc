"""How the C library handles the memory that tensors leave behind."""

from __future__ import annotations

import ctypes

KEPT_BYTES = 2**28
"""Freed memory that stays with the process."""

LARGEST_KEPT = 2**25
"""Blocks up to this size are kept; the largest that glibc allows."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt. Source: malloc.h of glibc."""


def keep_freed_memory() -> None:
    """Use freed memory again without giving it to the system in between, where the C library is glibc.

    A network frees and asks for tensors of a few megabytes all the time, and the system clears every
    page that it hands out: g_s took a third longer.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
