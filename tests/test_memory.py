from __future__ import annotations

import ctypes

import pytest

from nccli import memory
from tests.support import run_python

FAULTS = """
import resource, torch
{setup}
def work(): [torch.ones(2**20) for i in range(16)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(20): work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setup: str) -> int:
    return int(run_python("-c", FAULTS.format(setup=setup)).stdout)


def test_tensors_reuse_pages() -> None:
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("not glibc")
    kept = faults("from nccli.memory import keep_freed_memory; keep_freed_memory()")
    assert kept < faults("") / 3


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory()
