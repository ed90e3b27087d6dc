"""Densities: the learned factorized prior of z and the Gaussian of y.

Float code for training and for building the integer tables at export; coding a file never
evaluates these.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIKELIHOOD_BOUND = 1e-9
"""Smallest likelihood in training: caps the gradient of improbable values."""


class FactorizedPrior(nn.Module):
    """Univariate density per channel, a small monotone network of the cumulative.

    Source: Balle et al. 2018, appendix 6.1. Same parameterisation as CompressAI's
    EntropyBottleneck with filters (3, 3, 3, 3), against which it is tested.
    """

    FILTERS = (1, 3, 3, 3, 3, 1)

    def __init__(self, channels: int, init_scale: float = 1.0) -> None:
        super().__init__()
        scale = init_scale ** (1 / (len(self.FILTERS) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for c_in, c_out in zip(self.FILTERS[:-1], self.FILTERS[1:], strict=True):
            start = torch.log(torch.expm1(torch.tensor(1 / scale / c_out)))
            self.matrices.append(nn.Parameter(start * torch.ones(channels, c_out, c_in)))
            self.biases.append(nn.Parameter(torch.rand(channels, c_out, 1) - 0.5))
            if c_out != 1:
                self.factors.append(nn.Parameter(torch.zeros(channels, c_out, 1)))

    def logits_cumulative(self, x: Tensor) -> Tensor:
        """Logits of the cumulative at x: (c, 1, n) -> (c, 1, n)."""
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = torch.matmul(F.softplus(matrix), x) + bias
            if i < len(self.factors):
                x = x + torch.tanh(self.factors[i]) * torch.tanh(x)
        return x

    def likelihood(self, z: Tensor, step: Tensor) -> Tensor:
        """Probability of an interval one step wide around z.

        Args:
            z: (b, c, h, w).
            step: broadcastable to z.
        """
        c = z.shape[1]
        half = (step / 2).expand_as(z)
        lower = (z - half).transpose(0, 1).reshape(c, 1, -1)
        upper = (z + half).transpose(0, 1).reshape(c, 1, -1)
        lower, upper = self.logits_cumulative(lower), self.logits_cumulative(upper)
        sign = -torch.sign(lower + upper).detach()
        p = torch.abs(torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower))
        return p.reshape(c, z.shape[0], *z.shape[2:]).transpose(0, 1)


def gaussian_likelihood(distance: Tensor, scales: Tensor, step: Tensor) -> Tensor:
    """Probability of an interval one step wide, centred `distance` away from a Gaussian's mean."""
    distance = distance.abs()
    upper = (step / 2 - distance) / scales
    lower = (-step / 2 - distance) / scales
    root = -(2**-0.5)
    return 0.5 * (torch.erfc(root * upper) - torch.erfc(root * lower))


class ScaleMixture(nn.Module):
    """Zero-mean density of y: a mixture of Gaussians whose scales are fixed ratios of the predicted one.

    Latents are heavier-tailed than a Gaussian of the predicted scale; the ratios and weights are
    learned, shared by all latents, and end up in the integer tables.
    """

    START_RATIOS = (0.4, 1.0, 2.2)
    START_WEIGHTS = (0.3, 0.55, 0.15)

    def __init__(self) -> None:
        super().__init__()
        self.log2_ratios = nn.Parameter(torch.log2(torch.tensor(self.START_RATIOS)))
        self.logits = nn.Parameter(torch.log(torch.tensor(self.START_WEIGHTS)))

    def likelihood(self, distance: Tensor, scales: Tensor, step: Tensor) -> Tensor:
        """Probability of an interval one step wide, centred `distance` away from the mean."""
        weights, ratios = torch.softmax(self.logits, 0), torch.exp2(self.log2_ratios)
        parts = [
            weights[i] * gaussian_likelihood(distance, scales * ratios[i], step) for i in range(len(ratios))
        ]
        return torch.stack(parts).sum(0)


class _LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient still passes when it would raise x above the bound."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(x, bound)
        return torch.maximum(x, bound)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        x, bound = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * ((x >= bound) | (grad < 0)), None


def lower_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """max(x, bound), see `_LowerBound`."""
    bound = torch.as_tensor(bound, dtype=x.dtype, device=x.device)
    bounded: Tensor = _LowerBound.apply(x, bound)  # type: ignore[no-untyped-call, unused-ignore]
    return bounded


def bits(likelihood: Tensor) -> Tensor:
    """-log2 of a likelihood bounded from below, elementwise."""
    return -torch.log2(lower_bound(likelihood, LIKELIHOOD_BOUND))
