"""Region <-> payload of the roi section. Source: docs/FORMAT.md section 3.2."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nccli.bounds import MAX_DECISIONS
from nccli.container.roi_head import RoiHead, read_roi_head
from nccli.entropy.coder import TOTAL, BitDecoder, BitEncoder
from nccli.entropy.region import Region, cells_of
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
    head = RoiHead(region.top, region.cell_log2, region.feather, region.drop)
    return head.pack() + coder.finish()


def unpack_region(payload: bytes, height: int, width: int) -> Region:
    """The region of a picture of this many latent positions.

    Raises:
        FormatError: the payload is damaged or asks for too much.
    """
    head, cells = read_roi_head(payload)
    rows, columns = cells_of(height, width, head.cell_log2)
    if rows * columns * head.top > MAX_DECISIONS:
        raise FormatError("roi cells", found=f"{rows}x{columns} of {head.top} levels")
    levels = np.zeros((rows, columns), np.uint8)
    coder = BitDecoder(cells)
    _walk(levels, head.top, coder)
    coder.finish()
    return Region(levels, head.top, head.cell_log2, head.feather, head.drop)
