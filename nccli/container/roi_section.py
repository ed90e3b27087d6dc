"""Region <-> payload of the roi section. Source: docs/FORMAT.md section 3.2."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nccli.container.framing import Reader, write_varint
from nccli.entropy.coder import TOTAL, BitDecoder, BitEncoder
from nccli.entropy.region import MAX_CELL_LOG2, MAX_DECISIONS, MAX_DROP, MAX_FEATHER, Region, cells_of
from nccli.errors import FormatError

GAIN = 8
"""Weight of one decision seen against the counts that a context starts with."""

LIMIT = 1024
"""Counts are halved when their sum reaches this: contexts adapt."""

NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
"""Rows and columns from a cell to those its context looks at: left, above, and so on."""


class _Contexts:
    """Adaptive counts of the decisions "the level is greater than t", by what the neighbours are."""

    def __init__(self) -> None:
        ones = [bin(context).count("1") for context in range(1 << len(NEIGHBOURS))]
        self._yes = [1 + n * n for n in ones]
        self._no = [1 + (len(NEIGHBOURS) - n) ** 2 for n in ones]

    def frequency(self, context: int) -> int:
        """Of 2^24, how likely a yes is."""
        yes, no = self._yes[context], self._no[context]
        return min(max(yes * TOTAL // (yes + no), 1), TOTAL - 1)

    def update(self, context: int, bit: int) -> None:
        """Learn a decision."""
        counts = self._yes if bit else self._no
        counts[context] += GAIN
        if self._yes[context] + self._no[context] >= LIMIT:
            self._yes[context] = (self._yes[context] + 1) // 2
            self._no[context] = (self._no[context] + 1) // 2


def _walk(levels: NDArray[np.uint8], top: int, coder: BitEncoder | BitDecoder) -> None:
    """Code every cell in scan order by yes-or-no decisions; a decoder fills `levels` in."""
    rows, columns = levels.shape
    padded = np.zeros((rows + 2, columns + 3), np.uint8)
    padded[2:, 2:-1] = levels
    grid = padded.tolist()
    contexts = _Contexts()
    for i in range(2, rows + 2):
        for j in range(2, columns + 2):
            around = [grid[i + down][j + right] for down, right in NEIGHBOURS]
            level = 0
            while level < top:
                context = sum((near > level) << n for n, near in enumerate(around))
                bit = coder.code(contexts.frequency(context), grid[i][j] > level)
                contexts.update(context, bit)
                if not bit:
                    break
                level += 1
            grid[i][j] = level
    levels[...] = np.array(grid, np.uint8)[2:, 2:-1]


def pack_region(region: Region) -> bytes:
    """Payload of a roi section."""
    coder = BitEncoder()
    _walk(region.levels.copy(), region.top, coder)
    head = bytes([region.top | region.feather << 4, region.cell_log2])
    return head + write_varint(region.drop) + coder.finish()


def unpack_region(payload: bytes, height: int, width: int) -> Region:
    """The region of a picture of this many latent positions.

    Raises:
        FormatError: the payload is damaged or asks for too much.
    """
    reader = Reader(payload, len(payload))
    packed, cell_log2 = reader.take(2, "roi")
    top, feather = packed & 15, packed >> 4
    drop = reader.varint("roi drop", MAX_DROP)
    if not top or feather > MAX_FEATHER or cell_log2 > MAX_CELL_LOG2 or not drop:
        raise FormatError("roi", found=payload[: reader.offset].hex())
    rows, columns = cells_of(height, width, cell_log2)
    if rows * columns * top > MAX_DECISIONS:
        raise FormatError("roi cells", found=f"{rows}x{columns} of {top} levels")
    levels = np.zeros((rows, columns), np.uint8)
    coder = BitDecoder(payload[reader.offset :])
    _walk(levels, top, coder)
    coder.finish()
    return Region(levels, top, cell_log2, feather, drop)
