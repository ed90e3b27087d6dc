"""Refinement with networks of the zoo: the rate it sees, and what it gains."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

import nccli
from nccli.codec.opened import decode_bytes
from nccli.codec.refining import RefineOptions
from nccli.coding.payload import CHECKS_BYTES
from nccli.coding.sender import FLUSH_BYTES, price
from nccli.entropy.rate import lambda_to_rate
from nccli.entropy.setting import Setting
from nccli.refinement.descent.problem import Kit, Problem
from nccli.zoo.cache import file_name, zoo_folder
from tests.support import Pixels, analysed, frozen
from tests.support.zoo import STEMS, Small, make_small, trained

LEARNED = ("bmshj2018-hyperprior-2", "mbt2018-mean-3", "mbt2018-4")


@pytest.fixture(scope="module")
def face(astronaut: Pixels) -> Pixels:
    return frozen(astronaut[60:124, 180:244])


@pytest.fixture(params=LEARNED)
def learned(
    request: pytest.FixtureRequest, face: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Small:
    """A network that has seen the picture, in the user's cache folder."""
    monkeypatch.setenv("NCC_CACHE", str(tmp_path))
    zoo_folder().mkdir(parents=True)
    small = trained(request.param, face, 30)
    name = file_name(small.model, hashlib.sha256(small.data).hexdigest())
    (zoo_folder() / name).write_bytes(small.data)
    return small


@pytest.mark.parametrize("stem", STEMS)
def test_the_rate_it_sees_is_the_real_one(stem: str, face: Pixels, tmp_path: Path) -> None:
    """Rounded hard, the soft cost is what the exact coder counts, to within the rows' interpolation."""
    small = make_small(stem, face, tmp_path)
    weights = small.weights
    setting = Setting(lambda_to_rate(small.model.lmbda), 8, 3)
    with torch.no_grad():
        latents = analysed(weights, face)
        problem = Problem(Kit.of(weights), latents.grid, setting)
        variables = problem.variables(latents)
        variables.z = variables.z.round()
        z_bits, features = problem.code_hyper(variables.z)
        soft = problem.code_latents(variables, features, torch.round)
        real, y_hat = price(weights, latents, setting)
    soft_bytes = float(z_bits + soft.bits) / 8 + CHECKS_BYTES + FLUSH_BYTES
    autoregressive = small.model.architecture.autoregressive
    assert abs(soft_bytes - real) < (0.04 if autoregressive else 0.01) * real
    difference = (soft.y_hat[0] - torch.from_numpy(y_hat) / 4096).abs()
    assert float(difference.mean()) < (0.35 if autoregressive else 0.01)


def test_gradients_reach_everything(face: Pixels, tmp_path: Path) -> None:
    for stem in ("mbt2018-mean-3", "mbt2018-4"):
        small = make_small(stem, face, tmp_path)
        latents = analysed(small.weights, face)
        problem = Problem(Kit.of(small.weights), latents.grid, Setting(20000, 0, 3))
        variables = problem.variables(latents)
        tensors = [*variables.y, variables.z, variables.step_y]
        for tensor in tensors:
            tensor.requires_grad_()
        z_bits, features = problem.code_hyper(variables.z)
        soft = problem.code_latents(variables, features, lambda v: v)
        loss = soft.bits + z_bits + (small.weights.g_s(soft.y_hat, problem.anchors) ** 2).sum()
        gradients = torch.autograd.grad(loss, tensors)
        assert all(bool(torch.isfinite(g).all()) for g in gradients)
        assert all(float(g.abs().sum()) > 0 for g in gradients if g.numel())
        assert gradients[0].numel() == latents.y.size


def test_refined_files_are_better_and_decode(learned: Small, face: Pixels) -> None:
    options = RefineOptions(steps=30, lr=0.05)
    name, lmbda = learned.model.name, learned.model.lmbda
    plain = nccli.encode(face, model=name, device="cpu").data
    refined = nccli.refine(face, options=options, model=name, device="cpu")
    assert refined.improved
    decoded = decode_bytes(refined.data, "cpu").pixels.astype(float)
    before = decode_bytes(plain, "cpu").pixels.astype(float)
    loss = [
        len(data) * 8 / face[..., 0].size + lmbda * float(((pixels - face) ** 2).mean())
        for data, pixels in ((plain, before), (refined.data, decoded))
    ]
    assert loss[1] < 0.998 * loss[0]
    assert refined.objective == pytest.approx(loss[1], rel=1e-3)
