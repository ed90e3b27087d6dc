"""The head of a roi section: all about a region but its cells. Standard library only.

Source: docs/FORMAT.md section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from nccli.bounds import MAX_CELL_LOG2, MAX_DROP, MAX_FEATHER
from nccli.container.framing import Reader, write_varint
from nccli.errors import FormatError


@dataclass(frozen=True)
class RoiHead:
    """What a roi section says before its cells; the fields are those of `Region`."""

    top: int
    cell_log2: int
    feather: int
    drop: int

    def pack(self) -> bytes:
        """As files hold it."""
        return bytes([self.top | self.feather << 4, self.cell_log2]) + write_varint(self.drop)


def read_roi_head(payload: bytes) -> tuple[RoiHead, bytes]:
    """The head of a roi section, and what comes after it.

    Raises:
        FormatError: the head is damaged or asks for too much.
    """
    reader = Reader(payload, len(payload))
    packed, cell_log2 = reader.take(2, "roi")
    top, feather = packed & 15, packed >> 4
    drop = reader.varint("roi drop", MAX_DROP)
    if not top or feather > MAX_FEATHER or cell_log2 > MAX_CELL_LOG2 or not drop:
        raise FormatError("roi", found=payload[: reader.offset].hex())
    return RoiHead(top, cell_log2, feather, drop), payload[reader.offset :]
