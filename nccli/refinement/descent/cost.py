"""The rate of soft symbols: the coder's own integer tables, interpolated.

At integer symbols and rows the value is exactly what the range coder spends, escapes and uncoded
rows included, so the objective has no gap to the real file but the softness itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.entropy.coder import IntArray, Tables


def escape_bits(symbols: IntArray) -> NDArray[np.float64]:
    """Bits after the escape entry. Source: docs/FORMAT.md section 9."""
    values = symbols.astype(np.int64)
    zigzag = np.where(values < 0, -2 * values - 1, 2 * values)
    lengths = 1 + sum((zigzag >= 256**n).astype(np.float64) for n in (1, 2, 3))
    return np.asarray(2 + 8 * lengths, np.float64)


class CostTable:
    """Bits by table row and symbol, between which it interpolates linearly.

    Args:
        tables: of the coder.
        rows: which rows, in this order.
        skipped: the first row is not coded: symbol 0 is free there. Others cannot occur; they cost as
            in the next row.
    """

    def __init__(self, tables: Tables, rows: range, skipped: bool, device: torch.device) -> None:
        counts = np.diff(tables.starts)[rows.start : rows.stop]
        lowest = tables.lowest[rows.start : rows.stop].astype(np.int64)
        self.reach = int(max(np.abs(lowest).max(), (lowest + counts).max()))
        symbols = np.arange(-self.reach, self.reach + 1)
        table = np.stack([_row_costs(tables, row, symbols) for row in rows])
        if skipped:
            table[0] = table[1]
            table[0, self.reach] = 0
        self.rows = len(rows)
        self._table = torch.from_numpy(table.astype(np.float32)).to(device)

    def bits(self, rows: Tensor, symbols: Tensor) -> Tensor:
        """Bits of each soft symbol in its soft row (0 is the first); differentiable in both."""
        cost: Tensor = _Interpolate.apply(rows, symbols, self._table, self.reach)  # type: ignore[no-untyped-call, unused-ignore]
        return cost


def _row_costs(tables: Tables, row: int, symbols: IntArray) -> NDArray[np.float64]:
    start, end = int(tables.starts[row]), int(tables.starts[row + 1]) - 1
    place = start + symbols - int(tables.lowest[row])
    outside = (place < start) | (place >= end)
    bits = tables.costs[np.where(outside, end, place)].astype(np.float64)
    return np.asarray(bits + np.where(outside, escape_bits(symbols), 0))


class _Interpolate(torch.autograd.Function):
    """Bilinear lookup; constant beyond the table's edges."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, rows: Tensor, symbols: Tensor, table: Tensor, reach: int
    ) -> Tensor:
        last, width = table.shape[0] - 1, table.shape[1]
        row = rows.clamp(0, last)
        low_row = row.floor().clamp_(max=max(last - 1, 0))
        column = (symbols + reach).clamp(0, width - 1)
        low_column = column.floor().clamp_(max=width - 2)
        across, along = row - low_row, column - low_column
        place = (low_row * width + low_column).long()
        flat = table.view(-1)
        first, second = flat[place], flat[place + 1]
        slope_first = second - first
        below = place + width if last else place
        third, fourth = flat[below], flat[below + 1]
        slope_second = fourth - third
        by_column = torch.lerp(slope_first, slope_second, across)
        here = torch.addcmul(first, slope_first, along)
        by_row = torch.addcmul(third, slope_second, along) - here
        ctx.save_for_backward(by_row, by_column)
        return torch.addcmul(here, by_row, across)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_row, by_column = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * by_row, grad * by_column, None, None
