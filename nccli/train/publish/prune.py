"""Take the channels of z out of a model that never carry anything."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nccli.entropy.rate import NUM_ANCHORS
from nccli.networks.image_model import ImageModel


@torch.no_grad()
def used_channels(model: ImageModel, tiles: Tensor) -> Tensor:
    """Which channels of z are not always zero, at any rate, on tiles (n, 3, h, w) uint8; at least one: (channels,) bool."""
    half = torch.exp2(model.step_z.min()) / 2
    peak = torch.zeros(model.config.hyper_channels)
    for anchor in torch.eye(NUM_ANCHORS)[:, None, :, None, None]:
        for x in torch.split(tiles, 8):
            z = model.h_a(model.analyse(x.float() / 255, anchor))
            peak = torch.maximum(peak, z.abs().amax((0, 2, 3)))
    used = peak >= half
    used[peak.argmax()] = True
    return used


def pruned(model: ImageModel, tiles: Tensor) -> ImageModel:
    """The same network without those channels, judged on tiles (n, 3, h, w) uint8."""
    places = used_channels(model, tiles).nonzero()[:, 0]
    smaller = ImageModel(replace(model.config, hyper_channels=len(places)))
    state = model.state_dict()
    for name, wanted in smaller.state_dict().items():
        for dim, (have, want) in enumerate(zip(state[name].shape, wanted.shape, strict=True)):
            if have != want:
                state[name] = state[name].index_select(dim, places)
    smaller.load_state_dict(state)
    return smaller.eval().requires_grad_(False)
