"""SOAP: Adam in the eigenbasis of each weight's gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

EPSILON = 1e-8

FIRST_TURNS = 8
"""Iterations towards the eigenvectors of the first gradient, which may be singular."""

FLOOR = 1e-6
"""Of the mean eigenvalue, added to all: directions without gradients keep their vectors."""

ORTHOGONAL = 1e-3
"""Largest error of an inner product that a turned basis may have; otherwise it stays as it was."""

SIDES = ("rows", "columns")


@dataclass
class Stack:
    """Weights of one shape and one scale of the learning rate, seen as k matrices.

    Attributes:
        scale: of the learning rate.
        parameters: the k weights.
        state: mean, square (k, r, c); rows, columns and their bases (k, n, n) for sides that have one.
    """

    scale: float
    parameters: list[nn.Parameter]
    state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def matrix(self) -> bool:
        """The weights have at least two dimensions."""
        return self.parameters[0].ndim > 1

    def gradients(self) -> Tensor:
        """(k, r, c)."""
        grads = [cast(Tensor, p.grad) for p in self.parameters]
        return torch.stack([g.reshape(len(g), -1) if self.matrix else g[None] for g in grads])

    def subtract(self, change: Tensor) -> None:
        """Take (k, r, c) away from the weights."""
        parts = [part.view_as(p) for part, p in zip(change.unbind(), self.parameters, strict=True)]
        torch._foreach_sub_(list[Tensor](self.parameters), parts)


class Soap:
    """Adam in a slowly turning basis in which the gradients of a matrix are nearly uncorrelated.

    A weight is seen as a matrix of outputs by inputs, the taps of a filter being inputs. Weights of
    one dimension, and sides longer than `longest`, keep their own basis. Weights of one shape are
    stacked, so that every operation is done once a shape.

    Only `turn` and the first `step` choose what to do by values; a later `step` is the same work every time,
    so that it may be recorded and replayed on an accelerator.

    Source: Vyas et al., "SOAP: Improving and stabilizing Shampoo using Adam", ICLR 2025, algorithm 3.

    Args:
        groups: scale of the learning rate -> parameters.
        betas: decay of the mean gradient and of its mean square.
        decay: of the gradients' covariances.
        every: steps between turns of the basis.
        longest: side of the largest covariance.
        bf16: hold and change bases in bfloat16.

    Attributes:
        lr: learning rate, a tensor of one number.
        steps: done with a change of the weights, likewise.
        started: the first step, which only finds bases, is done.
    """

    def __init__(
        self,
        groups: Iterable[tuple[float, Iterable[nn.Parameter]]],
        betas: tuple[float, float] = (0.9, 0.99),
        decay: float = 0.95,
        every: int = 20,
        longest: int = 330,
        bf16: bool = False,
    ) -> None:
        self.betas, self.decay, self.every, self.longest = betas, decay, every, longest
        self.product = torch.bfloat16 if bf16 else torch.float32
        stacks: dict[tuple[object, ...], Stack] = {}
        for scale, parameters in groups:
            for p in parameters:
                key = (scale, p.ndim > 1, len(p), p.numel())
                stacks.setdefault(key, Stack(scale, [])).parameters.append(p)
        self.stacks = list(stacks.values())
        device = self.stacks[0].parameters[0].device
        self.lr = torch.zeros((), device=device)
        self.steps = torch.zeros((), device=device)
        self.started = False

    def zero_grad(self) -> None:
        """Forget gradients."""
        for stack in self.stacks:
            for p in stack.parameters:
                p.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that `load_state_dict` takes; stacks are numbered."""
        parts = {f"{i}.{k}": v for i, stack in enumerate(self.stacks) for k, v in stack.state.items()}
        return parts | {"steps": self.steps} if self.started else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where an optimiser of the same weights stood."""
        self.started = bool(state)
        for key, value in state.items():
            if key == "steps":
                self.steps.copy_(value)
            else:
                number, _, part = key.partition(".")
                self.stacks[int(number)].state[part] = value.to(self.steps.device)

    @torch.no_grad()
    def step(self) -> None:
        """One step with the gradients of all weights; the first one only finds bases."""
        if not self.started:
            for stack in self.stacks:
                self._start(stack)
            self.started = True
            return
        self.steps += 1
        for stack in self.stacks:
            grad = stack.gradients()
            stack.subtract(self._change(stack.state, grad).mul_(self.lr * stack.scale))

    def turn(self, step: int) -> None:
        """Turn the bases if `step`, counted from one, is a multiple of `every`."""
        if step % self.every == 0:
            for stack in self.stacks:
                self._turn_basis(stack.state)

    def _start(self, stack: Stack) -> None:
        grad, state = stack.gradients(), stack.state
        state["mean"] = torch.zeros_like(grad)
        state["square"] = torch.zeros_like(grad)
        for side, size in zip(SIDES, grad.shape[1:], strict=True):
            if stack.matrix and 1 < size <= self.longest:
                state[side] = grad.new_zeros(len(grad), size, size)
                eye = torch.eye(size, dtype=self.product, device=grad.device)
                state[f"{side}_basis"] = eye.repeat(len(grad), 1, 1)
        self._correlate(state, grad)
        for _ in range(FIRST_TURNS):
            self._turn_basis(state)

    def _change(self, state: dict[str, Tensor], grad: Tensor) -> Tensor:
        """What to subtract from the weights, per unit of the learning rate; like grad."""
        turned = self._turn(state, grad)
        state["mean"].lerp_(turned, 1 - self.betas[0])
        state["square"].lerp_(turned.square_(), 1 - self.betas[1])
        root = (state["square"] / (1 - self.betas[1] ** self.steps)).sqrt_().add_(EPSILON)
        change = self._turn_back(state, state["mean"] / root).div_(1 - self.betas[0] ** self.steps)
        self._correlate(state, grad)
        return change

    def _correlate(self, state: dict[str, Tensor], grad: Tensor) -> None:
        for side, x in zip(SIDES, (grad, grad.mT), strict=True):
            if side in state:
                state[side].baddbmm_(x, x.mT, beta=self.decay, alpha=1 - self.decay)

    def _turn(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        x = x.to(self.product)
        if "rows" in state:
            x = state["rows_basis"].mT @ x
        if "columns" in state:
            x = x @ state["columns_basis"]
        return x.to(torch.float32, copy=True)

    def _turn_back(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        x = x.to(self.product)
        if "rows" in state:
            x = state["rows_basis"] @ x
        if "columns" in state:
            x = x @ state["columns_basis"].mT
        return x.float()

    @torch.no_grad()
    def _turn_basis(self, state: dict[str, Tensor]) -> None:
        """One step of orthogonal iteration; the mean turns along, the squares move to their new places."""
        mean = self._turn_back(state, state["mean"])
        for dim, side in enumerate(SIDES):
            if side in state:
                basis, moments = state[f"{side}_basis"].double(), state[side].double()
                floor = FLOOR * moments.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
                image = moments @ basis + floor * basis
                order = (basis * image).sum(1).argsort(dim=1, descending=True)
                places = order[:, :, None] if dim == 0 else order[:, None, :]
                turned, sound = orthonormal(image.gather(2, order[:, None, :].expand_as(image)))
                moved = state["square"].gather(dim + 1, places.expand_as(state["square"]))
                state["square"].copy_(torch.where(sound, moved, state["square"]))
                state[f"{side}_basis"].copy_(torch.where(sound, turned, basis))
        state["mean"].copy_(self._turn(state, mean))


def orthonormal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Columns orthonormalised from the first on, as by Gram and Schmidt, and where that was possible.

    On an accelerator by two Cholesky factorisations of columns of length one, all matrices at once: there a
    library's QR takes one after the other. Source: Fukaya et al. 2014, CholeskyQR2.

    Args:
        x: (k, n, n) float64.

    Returns:
        (k, n, n), and (k, 1, 1) bool.
    """
    x = cholesky_qr(x) if x.is_cuda else torch.linalg.qr(x.float())[0].double()
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return x, (x.mT @ x - eye).abs().amax((1, 2), keepdim=True) < ORTHOGONAL


def cholesky_qr(x: Tensor) -> Tensor:
    """Columns of (k, n, n) orthonormalised; not finite where they are linearly dependent."""
    for _ in range(2):
        x = x / x.norm(dim=1, keepdim=True)
        factor, _ = torch.linalg.cholesky_ex(x.mT @ x)
        x = torch.linalg.solve_triangular(factor.mT, x, upper=True, left=False)
    return x
