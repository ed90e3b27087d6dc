"""SOAP: Adam in the eigenbasis of each weight's gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8

FIRST_TURNS = 8
"""Iterations towards the eigenvectors of the first gradient, which may be singular."""


class Soap(torch.optim.Optimizer):
    """Adam in a slowly turning basis in which the gradients of a matrix are nearly uncorrelated.

    A weight is seen as a matrix of outputs by inputs, the taps of a filter being inputs. Weights of
    one dimension, and sides longer than `longest`, keep their own basis.

    Source: Vyas et al., "SOAP: Improving and stabilizing Shampoo using Adam", ICLR 2025, algorithm 3.

    Args:
        params: parameters or groups of them, each with its `lr`.
        lr: learning rate.
        betas: decay of the mean gradient and of its mean square.
        decay: of the gradients' covariances.
        every: steps between turns of the basis.
        longest: side of the largest covariance.
        bf16: hold and change bases in bfloat16.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: float = 0.95,
        every: int = 20,
        longest: int = 330,
        bf16: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr})
        self.betas, self.decay, self.every, self.longest = betas, decay, every, longest
        self.product = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; a weight's first gradient only finds its basis."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                grad = (p.grad.reshape(len(p), -1) if p.ndim > 1 else p.grad[None]).contiguous()
                if self.state[p]:
                    p.sub_(self._change(self.state[p], grad).reshape(p.shape), alpha=group["lr"])
                else:
                    self._start(self.state[p], grad, p.ndim > 1)

    def _start(self, state: dict[str, Tensor], grad: Tensor, matrix: bool) -> None:
        state["step"] = torch.tensor(0.0)
        state["mean"] = torch.zeros_like(grad)
        state["square"] = torch.zeros_like(grad)
        for side, size in zip(("rows", "columns"), grad.shape, strict=True):
            if matrix and 1 < size <= self.longest:
                state[side] = grad.new_zeros(size, size)
                state[f"{side}_basis"] = torch.eye(size, dtype=self.product, device=grad.device)
        self._correlate(state, grad)
        for _ in range(FIRST_TURNS):
            self._turn_basis(state)

    def _change(self, state: dict[str, Tensor], grad: Tensor) -> Tensor:
        """What to subtract from the weight, per unit of the learning rate; like grad."""
        state["step"] += 1
        n = int(state["step"])
        turned = self._turn(state, grad)
        state["mean"].lerp_(turned, 1 - self.betas[0])
        state["square"].lerp_(turned.square_(), 1 - self.betas[1])
        root = (state["square"] / (1 - self.betas[1] ** n)).sqrt_().add_(EPSILON)
        change = self._turn_back(state, state["mean"] / root) / (1 - self.betas[0] ** n)
        self._correlate(state, grad)
        if n % self.every == 0:
            self._turn_basis(state)
        return change

    def _correlate(self, state: dict[str, Tensor], grad: Tensor) -> None:
        if "rows" in state:
            state["rows"].addmm_(grad, grad.T, beta=self.decay, alpha=1 - self.decay)
        if "columns" in state:
            state["columns"].addmm_(grad.T, grad, beta=self.decay, alpha=1 - self.decay)

    def _turn(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        x = x.to(self.product)
        if "rows" in state:
            x = state["rows_basis"].T @ x
        if "columns" in state:
            x = x @ state["columns_basis"]
        return x.to(torch.float32, copy=True)

    def _turn_back(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        x = x.to(self.product)
        if "rows" in state:
            x = state["rows_basis"] @ x
        if "columns" in state:
            x = x @ state["columns_basis"].T
        return x.float()

    def _turn_basis(self, state: dict[str, Tensor]) -> None:
        """One step of orthogonal iteration; the mean turns along, the squares move to their new places."""
        mean = self._turn_back(state, state["mean"])
        for dim, side in enumerate(("rows", "columns")):
            if side in state:
                basis = state[f"{side}_basis"].float()
                image = state[side] @ basis
                order = (basis * image).sum(0).argsort(descending=True)
                state["square"] = state["square"].index_select(dim, order)
                turned = torch.linalg.qr(image[:, order])[0]
                state[f"{side}_basis"] = turned.to(self.product).contiguous()
        state["mean"] = self._turn(state, mean)
