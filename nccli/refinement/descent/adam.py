"""Adam for a handful of tensors; importing torch's own takes seconds and loads its compiler."""

from __future__ import annotations

import torch
from torch import Tensor

DECAYS = (0.9, 0.99)
"""Of the running means of the gradient and of its square; the second forgets within 100 steps, since
the objective hardens as it goes."""

TINY = 1e-10


class Adam:
    """Source: Kingma and Ba 2015, algorithm 1."""

    def __init__(self, tensors: list[Tensor], rates: list[float]) -> None:
        self._tensors, self._rates = tensors, rates
        self._means = [torch.zeros_like(t) for t in tensors]
        self._squares = [torch.zeros_like(t) for t in tensors]
        self._steps = [0] * len(tensors)

    def step(self, gradients: dict[int, Tensor], scale: float) -> None:
        """Move the tensors with these numbers against their gradients, at `scale` times their rates."""
        first, second = DECAYS
        for number, gradient in gradients.items():
            self._steps[number] += 1
            mean, square = self._means[number], self._squares[number]
            mean.lerp_(gradient, 1 - first)
            square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            steps = self._steps[number]
            size = scale * self._rates[number] / (1 - first**steps)
            root = (square / (1 - second**steps)).sqrt_().add_(TINY)
            self._tensors[number].detach().addcdiv_(mean, root, value=-size)
