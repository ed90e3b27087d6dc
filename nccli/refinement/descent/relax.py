"""Soft roundings: differentiable stand-ins for rounding to the nearest integer.

A value v becomes a mixture of its neighbouring integers. The weights are a Gumbel-softmax sample
whose logits are log p / tau: p says how likely each neighbour is, the temperature tau hardens the
choice as it falls.

Source: Yang et al. 2020 (atanh, deterministic); Perugachi-Diaz et al., thesis chapter 5.3 (linear,
cosine, ssl, three classes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nccli.codec.refining import Method

EDGE = 1e-5
"""Distance from 0 and 1 that keeps logits finite."""


@dataclass(frozen=True)
class Relaxation:
    """A soft rounding.

    Attributes:
        method: family of the probabilities.
        classes: 2 mixes floor and ceiling, 3 also the integer on the nearest one's other side.
        a: slope of `ssl`; 1 is linear.
        r: of three classes: below 1 the third class gets a share.
        n: of three classes: power, larger is more peaked.
    """

    method: Method
    classes: int = 2
    a: float = 4 / 3
    r: float = 1.0
    n: float = 1.0

    def __call__(self, v: Tensor, tau: float, generator: torch.Generator | None = None) -> Tensor:
        """Soft rounding of v at temperature tau, of the same shape."""
        if self.method == Method.STE:
            return v + (torch.round(v) - v).detach()
        if self.method == Method.NOISE:
            return v + torch.rand(v.shape, generator=generator, device=v.device) - 0.5
        if self.classes == 3:
            return self._three(v, tau, generator)
        low = torch.floor(v.detach())
        logit = self.logit((v - low).clamp(EDGE, 1 - EDGE)) / tau
        if self.method != Method.DETERMINISTIC:
            logit = (logit + _logistic(v, generator)) / tau
        return low + torch.sigmoid(logit)

    def logit(self, t: Tensor) -> Tensor:
        """log of p(ceiling) / p(floor) at the distance t above the floor."""
        if self.method in (Method.ATANH, Method.DETERMINISTIC):
            return torch.atanh(t) - torch.atanh(1 - t)
        if self.method == Method.COSINE:
            return 2 * torch.log(torch.tan(t * (math.pi / 2)))
        slope = self.a if self.method == Method.SSL else 1.0
        return slope * torch.logit(t)

    def probability(self, distance: Tensor) -> Tensor:
        """Unnormalised probability of a class at this distance, three-class form."""
        w = (distance.abs() * self.r).clamp(EDGE, 1 - EDGE)
        if self.method in (Method.ATANH, Method.DETERMINISTIC):
            return torch.exp(-self.n * torch.atanh(w))
        if self.method == Method.COSINE:
            return torch.cos(w * (math.pi / 2)) ** self.n
        slope = self.a if self.method == Method.SSL else 1.0
        return torch.sigmoid(-slope * torch.logit(w)) ** self.n

    def _three(self, v: Tensor, tau: float, generator: torch.Generator | None) -> Tensor:
        nearest = torch.round(v.detach())
        offsets = torch.tensor([-1.0, 0.0, 1.0], device=v.device).view(3, *[1] * v.dim())
        logits = torch.log(self.probability((v - nearest) - offsets)) / tau
        if self.method != Method.DETERMINISTIC:
            noise = torch.empty_like(logits).exponential_(generator=generator).clamp_min_(1e-20).log_()
            logits = (logits - noise) / tau
        share = torch.softmax(logits, 0)
        return nearest + share[2] - share[0]


def _logistic(v: Tensor, generator: torch.Generator | None) -> Tensor:
    """Difference of two Gumbel samples: a logistic one."""
    uniform = torch.rand(v.shape, generator=generator, device=v.device).clamp_(1e-7, 1 - 1e-7)
    return torch.logit(uniform)
