"""Small networks of CompressAI's classes with latents of ordinary size, and what CompressAI makes of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nccli.networks.entry import Entry
from nccli.networks.weights import ImageWeights
from nccli.zoo.assemble import load_zoo
from nccli.zoo.convert import convert
from nccli.zoo.names import ZooModel, zoo_models
from nccli.zoo.source import builder_of
from tests.support import Pixels

N, M = 12, 18

STEMS = ("bmshj2018-hyperprior-2", "mbt2018-mean-3", "mbt2018-4", "cheng2020-anchor-3", "cheng2020-attn-5")
"""One of each architecture."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Small:
    """A small network: CompressAI's and ours."""

    model: ZooModel
    net: Any
    data: bytes
    weights: ImageWeights


def model_of(stem: str) -> ZooModel:
    return next(model for model in zoo_models() if model.stem == stem)


def batch(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


def make_net(model: ZooModel, pixels: Pixels, seed: int = 1) -> Any:
    """Random weights, scaled so that y and z have a spread of a few steps and the scales vary."""
    torch.manual_seed(seed)
    builder = builder_of(model.architecture)
    net = (builder(N) if model.architecture.residual else builder(N, M)).eval().requires_grad_(False)
    x = batch(pixels)
    last = [m for m in net.g_a.children() if isinstance(m, torch.nn.Conv2d)][-1]
    _scale(last, 4 / float(net.g_a(x).std()))
    y = net.g_a(x)
    _scale(net.h_a[-1], 3 / float(net.h_a(y.abs() if model.architecture.zero_means else y).std()))
    prior = net.entropy_bottleneck
    for parameters in (prior.matrices, prior.factors):
        for tensor in parameters:
            tensor.add_(torch.randn(tensor.shape) * 0.3)
    prior._update_quantiles()
    _widen(net, model, y)
    return net


def _scale(layer: Any, factor: float) -> None:
    layer.weight.mul_(factor)
    layer.bias.mul_(factor)


def _widen(net: Any, model: ZooModel, y: Tensor) -> None:
    """Scales between about 0.3 and 8, means of a few steps."""
    z = net.h_a(y.abs() if model.architecture.zero_means else y)
    params = net.h_s(z)[..., : y.shape[2], : y.shape[3]]
    head = net.h_s[-2] if model.architecture.zero_means else net.h_s[-1]
    if model.architecture.autoregressive:
        _scale(net.h_s[-1], 2 / float(params.std()))
        head = net.entropy_parameters[-1]
        params = net.h_s(z)[..., : y.shape[2], : y.shape[3]]
        both = torch.cat((params, net.context_prediction(y.round())), 1)
        params = net.entropy_parameters(both)
    _scale(head, 2 / max(float(params.std()), 1e-3))
    scales = slice(None) if model.architecture.zero_means else slice(0, len(head.bias) // 2)
    head.bias[scales] += 3.5


def as_weights(model: ZooModel, data: bytes, folder: Path) -> ImageWeights:
    path = folder / f"{model.stem}.safetensors"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return load_zoo(path, Entry(model.name, model.id, str(path), digest, model.about), CPU)


def make_small(stem: str, pixels: Pixels, folder: Path) -> Small:
    model = model_of(stem)
    net = make_net(model, pixels)
    data = convert(model, net)
    return Small(model, net, data, as_weights(model, data, folder))


@torch.no_grad()
def oracle(small: Small, y_hat: Tensor, z_hat: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """CompressAI's scales, means, bits of y and bits of z, of these latents: (1, M, h, w), (1, N, hz, wz)."""
    net, family = small.net, small.model.architecture
    params = net.h_s(z_hat)[..., : y_hat.shape[2], : y_hat.shape[3]]
    if family.autoregressive:
        params = net.entropy_parameters(torch.cat((params, net.context_prediction(y_hat)), 1))
    if family.zero_means:
        scales, means = params, torch.zeros_like(params)
    else:
        scales, means = params.chunk(2, 1)
    likelihood = net.gaussian_conditional._likelihood(y_hat, scales, means).clamp_min(1e-9)
    values = z_hat.permute(1, 0, 2, 3).reshape(z_hat.shape[1], 1, -1)
    prior = net.entropy_bottleneck._likelihood(values)[0].clamp_min(1e-9)
    return scales, means, float(-likelihood.log2().sum()), float(-prior.log2().sum())


def trained(stem: str, pixels: Pixels, steps: int) -> Small:
    """A network that has learned a little about one picture."""
    model = model_of(stem)
    torch.manual_seed(3)
    net = builder_of(model.architecture)(N, M).train()
    net.g_s[-1].bias.data.fill_(0.5)
    optimizer = torch.optim.Adam([p for n, p in net.named_parameters() if "quantiles" not in n], 3e-3)
    x = batch(pixels)[..., : pixels.shape[0] // 64 * 64, : pixels.shape[1] // 64 * 64]
    for _ in range(steps):
        out = net(x)
        bits = sum(-p.log2().sum() for p in out["likelihoods"].values()) / x[0, 0].numel()
        loss = bits + model.lmbda * 255**2 * F.mse_loss(out["x_hat"], x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.entropy_bottleneck._update_quantiles()
    return replace(Small(model, net.eval().requires_grad_(False), b"", None), data=convert(model, net))  # type: ignore[arg-type]
