"""The largest resident memory of this process. Standard library only."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

RESET_PEAK = b"5"
"""Written to clear_refs. Source: Linux, Documentation/filesystems/proc.rst."""


def forget_peak() -> None:
    """Begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(RESET_PEAK)


def peak() -> int:
    """Bytes since `forget_peak`, or since the process began where that does nothing."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
