"""Trained models into larger ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nccli.entropy.rate import NUM_ANCHORS
from nccli.networks.image_model import CONFIGS, ImageConfig, ImageModel
from nccli.train.image.course import Plan
from nccli.train.image.grow import grow, model_of
from nccli.train.image.loop import Trainer
from nccli.train.image.loss import Measures, Rates, forward
from tests.support.training import CPU, pictures

BARE = replace(CONFIGS["s"], detail=0)

TILES = pictures(8, 64)

SILENT = 30.0
"""log2 step of details so coarse that none is coded."""


def trained(config: ImageConfig) -> ImageModel:
    """A model whose every weight does something."""
    torch.manual_seed(4)
    model = ImageModel(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    model.gain += torch.linspace(0, -4, NUM_ANCHORS)[:, None]
    model.spread.copy_(torch.linspace(2, 0.5, config.M))
    return model


@torch.no_grad()
def measured(model: ImageModel, x: Tensor) -> Measures:
    rates = Rates.uniform(torch.linspace(-10, -3, len(x)))
    return forward(model, x, rates, torch.autocast("cpu", enabled=False), rounded=True)


@pytest.mark.parametrize(("old", "new"), [(BARE, CONFIGS["s"]), (CONFIGS["s"], CONFIGS["m"])], ids=["s", "m"])
@torch.no_grad()
def test_what_grows_does_what_it_did(old: ImageConfig, new: ImageConfig) -> None:
    model, grown = trained(old), ImageModel(new).requires_grad_(False)
    grow(model, grown, TILES.pixels)
    if not old.detail:
        grown.detail_step.fill_(SILENT)
    x = TILES.pixels[:3].float() / 255
    before, after = measured(model, x), measured(grown, x)
    assert float(before.mse.min()) > 0
    torch.testing.assert_close(after.mse, before.mse, rtol=1e-3, atol=0)
    torch.testing.assert_close(after.bpp_z, before.bpp_z, rtol=1e-4, atol=1e-6)
    if old.detail:
        assert float(before.bpp_detail.min()) > 0
        torch.testing.assert_close(after.bpp_detail, before.bpp_detail, rtol=1e-2, atol=0)
    latents = [m.bpp_y - m.bpp_detail for m in (before, after)]
    torch.testing.assert_close(latents[1], latents[0], rtol=1e-3, atol=1e-4)
    anchors = torch.full((len(x), NUM_ANCHORS, 1, 1), 1 / NUM_ANCHORS)
    y, y_grown = (m.analyse(x, anchors) for m in (model, grown))
    torch.testing.assert_close(y_grown[:, : old.M], y, rtol=1e-3, atol=1e-4)
    pixels = [m.synthesise(v, anchors) for m, v in ((model, y), (grown, y_grown))]
    torch.testing.assert_close(pixels[1], pixels[0], rtol=1e-3, atol=1e-4)


def test_new_details_are_components_of_what_is_lost() -> None:
    grown = ImageModel(CONFIGS["s"]).requires_grad_(False)
    grow(trained(BARE), grown, TILES.pixels)
    basis = grown.details.basis
    assert not torch.equal(basis, torch.eye(len(basis)))
    torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis)), rtol=0, atol=1e-4)
    scales = grown.entropy.detail_head.bias
    assert scales is not None
    assert (scales.diff() <= 1e-6).all()
    assert (grown.detail_step.diff() < 0).all()


@pytest.mark.parametrize(
    "smaller",
    [
        replace(CONFIGS["s"], N=96),
        replace(CONFIGS["s"], M=256),
        replace(CONFIGS["s"], blocks_s=3),
        replace(CONFIGS["s"], hyper_width=96),
        BARE,
    ],
    ids=["N", "M", "blocks", "hyper", "details"],
)
def test_a_smaller_model_is_refused(smaller: ImageConfig) -> None:
    with pytest.raises(ValueError, match=r"larger model needs|grow into"):
        grow(trained(CONFIGS["s"]), ImageModel(smaller), TILES.pixels)


def test_the_sizes_of_a_model_are_seen_in_its_weights() -> None:
    for config in (*CONFIGS.values(), BARE):
        assert model_of(ImageModel(config).state_dict()).config == replace(config, name="")


def test_a_run_begins_from_an_older_model(tmp_path: Path) -> None:
    """One without overlaps, gates and shifts of a block, and without the last block of g_a."""
    first = Trainer(Plan(batch=1, crop=64), CPU)
    first.start(TILES)
    first.save(tmp_path / "whole.safetensors")
    with safe_open(tmp_path / "whole.safetensors", "pt") as file:
        state = {k: file.get_tensor(k) for k in file.keys()}
        metadata = file.metadata()
    later = (".overlap.", ".g_a.blocks.4.", ".g_a.blocks.0.gates", ".shifts")
    small = {k: v for k, v in state.items() if not any(part in k for part in later)}
    assert len(small) < len(state)

    def begun(tensors: dict[str, Tensor]) -> Trainer:
        save_file(tensors, tmp_path / "begun.safetensors", metadata)
        trainer = Trainer(Plan(batch=1, crop=64), CPU)
        trainer.begin_from(tmp_path / "begun.safetensors", TILES)
        return trainer

    grown = begun(small)
    assert not grown.model.g_s.overlap.mix.weight.any()
    assert (grown.model.g_a.blocks[0].gates == 1).all()
    assert not grown.model.g_s.blocks[0].shifts.any()
    assert torch.equal(grown.model.g_s.patch.weight, state["average.g_s.patch.weight"])
    ours = grown.average.state_dict()
    assert all(torch.equal(ours[k], v) for k, v in grown.model.state_dict().items())
    with pytest.raises(ValueError, match="more"):
        begun(small | {"average.more": torch.zeros(1)})
    for lost in ("g_s.patch.weight", "g_a.blocks.0.mix_in.weight"):
        with pytest.raises(ValueError, match=lost):
            begun({k: v for k, v in small.items() if k != f"average.{lost}"})
    with pytest.raises(RuntimeError, match="overlap"):
        grown.load(tmp_path / "begun.safetensors")
