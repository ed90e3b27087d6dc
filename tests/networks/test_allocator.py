from __future__ import annotations

import ctypes
import resource

import pytest

from nccli.networks import allocator
from tests.support import run_python

ROUNDS, TENSORS = 20, 16
KEEP = "from nccli.networks.allocator import keep_freed_memory; keep_freed_memory()"

FAULTS = f"""
import resource, torch
{{setup}}
def work(): [torch.ones(2**20) for i in range({TENSORS})]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range({ROUNDS}): work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setup: str) -> int:
    return int(run_python("-c", FAULTS.format(setup=setup)).stdout)


def test_tensors_reuse_pages() -> None:
    """Counted against pages asked for: some systems hand out, or take away, many pages at a time."""
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("not glibc")
    asked = ROUNDS * TENSORS * 4 * 2**20 // resource.getpagesize()
    plain, kept = (faults(setup) for setup in ("", KEEP))
    if plain < asked / 4:
        pytest.skip("pages come in large groups")
    assert kept < asked / 10


class Library:
    """A C library with mallopt."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1


def absent(name: str | None) -> object:
    raise OSError(name)


def test_only_glibc_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have no mallopt, or cannot be opened by no name: nothing happens."""
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    allocator.keep_freed_memory()
    told = [(allocator.M_MMAP_THRESHOLD, allocator.LARGEST_KEPT)]
    told += [(allocator.M_TRIM_THRESHOLD, allocator.KEPT_BYTES)]
    assert library.calls == told
    for other in (lambda name: object(), absent):
        monkeypatch.setattr(ctypes, "CDLL", other)
        assert allocator.keep_freed_memory() is None
    assert library.calls == told
