"""Replaying a recorded training step: an accelerator need not wait for a thousand small launches."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

WARM = 3
"""Eager calls before the recording: libraries choose and reserve what they need."""

Work = Callable[..., Tensor]


class Replayed:
    """Calls of a function of tensors, recorded once and replayed after that.

    The function must do the same work on the same memory whatever its arguments' values are. Where it cannot
    be recorded, on a CPU or by an operation that does not allow it, it is called as it is.

    Args:
        work: what to call; returns one tensor.
        device: where.
        forget: called before the recording, to drop tensors that it is to allocate itself.
    """

    def __init__(self, work: Work, device: torch.device, forget: Callable[[], None]) -> None:
        self._work, self._device, self._forget = work, device, forget
        self._warm = WARM if device.type == "cuda" else -1
        self._replay: Callable[[], None] | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output = torch.empty(0)

    @property
    def recorded(self) -> bool:
        """Calls are replayed."""
        return self._replay is not None

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._warm > 0:
            self._warm -= 1
            return self._aside(inputs)
        if self._warm == 0:
            self._warm = -1
            self._try_to_record(inputs)
        if self._replay is None:
            return self._work(*inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._replay()
        return self._output.clone()

    def _aside(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """A call on a stream of its own, as recordings need it."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call, unused-ignore]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            output = self._work(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return output

    def _try_to_record(self, inputs: tuple[Tensor, ...]) -> None:
        try:
            self._inputs = tuple(x.clone() for x in inputs)
            self._replay = self._record()
        except RuntimeError as error:
            warnings.warn(f"steps are not recorded: {error}", stacklevel=2)
            self._replay = None

    def _record(self) -> Callable[[], None]:
        self._forget()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._work(*self._inputs)
        return graph.replay
