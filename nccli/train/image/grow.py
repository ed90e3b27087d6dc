"""Growing a trained model into a larger one without losing what it does.

Old weights keep their places; old channels do not see new ones, and residual branches add nothing to them
yet. Details, where the old model had none, start as the principal components of what it loses.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nccli.entropy.rate import NUM_ANCHORS
from nccli.networks.image_model import PATCH, ImageConfig, ImageModel
from nccli.train.image.klt import detail_start

SAMPLE_TILES = 100
"""Pictures that what a model loses is measured on."""

PART = 10
"""Pictures at a time."""

CONTEXTS = 4
"""Neighbours that the second pass sees."""

State = dict[str, Tensor]


def config_of(state: State) -> ImageConfig:
    """The sizes of the model that a state is of."""

    def blocks(part: str) -> int:
        return len({k.split(".")[2] for k in state if k.startswith(f"{part}.")})

    N = len(state["g_a.blocks.0.mix_in.weight"])
    return ImageConfig(
        name="",
        N=N,
        M=state["gain"].shape[1],
        detail=len(state["entropy.detail_head.weight"]) if "detail_step" in state else 0,
        blocks_a=blocks("g_a.blocks"),
        blocks_s=blocks("g_s.blocks"),
        deep_blocks_s=blocks("g_s.deep_blocks"),
        deep_width=len(state["g_s.deep_in.weight"]),
        hyper_channels=state["entropy.hyper.0.weight"].shape[1],
        hyper_width=len(state["entropy.hyper.0.weight"]),
        context_width=len(state["entropy.reduce.0.weight"]),
    )


def model_of(state: State) -> ImageModel:
    """A model with these weights.

    Raises:
        ValueError: some are missing, or there are others.
    """
    try:
        model = ImageModel(config_of(state))
    except KeyError as error:
        raise ValueError(f"a model without {error}") from error
    missing, others = model.load_state_dict(with_neutral(state), strict=False)
    if missing or others:
        raise ValueError(f"a model without {missing}, with {others}")
    return model.eval().requires_grad_(False)


def with_neutral(state: State) -> State:
    """The state with what older models did not have, as it changes nothing: gates, shifts and overlaps."""
    complete = dict(state)
    for part in {k.rsplit(".", 2)[0] for k in state if k.endswith(".mix_in.weight")}:
        channels = len(state[f"{part}.mix_in.weight"])
        complete.setdefault(f"{part}.gates", torch.ones(NUM_ANCHORS, 2, channels))
        complete.setdefault(f"{part}.shifts", torch.zeros(NUM_ANCHORS, 3 * channels))
    values = 3 * PATCH * PATCH
    for part in ("g_a", "g_s"):
        complete.setdefault(f"{part}.overlap.mix.weight", torch.zeros(values, values, 1, 1))
        complete.setdefault(f"{part}.overlap.mix.bias", torch.zeros(values))
    return complete


def fits(state: State, model: ImageModel) -> bool:
    """Every weight of the model is in the state, of the same shape."""
    wanted = model.state_dict()
    return state.keys() == wanted.keys() and all(state[k].shape == v.shape for k, v in wanted.items())


@torch.no_grad()
def grow(old: ImageModel, new: ImageModel, tiles: Tensor) -> None:
    """Give `new` what `old` does; the linear path is completed from uint8 tiles (n, 3, h, w).

    Raises:
        ValueError: `new` is smaller somewhere.
    """
    state, grown = old.state_dict(), new.state_dict()
    if lost := sorted(state.keys() - grown.keys()):
        raise ValueError(f"a larger model needs {lost}")
    _neutralise(new)
    for name, tensor in grown.items():
        if name in state:
            _embed(tensor, state[name], _places(name, old.config, new.config))
    if new.config.detail > old.config.detail:
        pick = torch.linspace(0, len(tiles) - 1, min(SAMPLE_TILES, len(tiles))).long()
        x = tiles[pick.to(tiles.device)].to(new.gain.device).float() / 255
        detail_start(new, x - finest(old, x))


def finest(model: ImageModel, x: Tensor) -> Tensor:
    """What is left of pictures (b, 3, h, w) at the highest rate without quantisation."""
    anchors = torch.zeros(1, NUM_ANCHORS, 1, 1, device=x.device)
    anchors[:, -1] = 1
    parts = torch.split(x, PART)
    return torch.cat([model.synthesise(model.analyse(part, anchors), anchors) for part in parts])


def _neutralise(model: ImageModel) -> None:
    """Put what new parts must not change at zero: the linear path and the heads."""
    g_a, g_s, entropy = model.g_a, model.g_s, model.entropy
    for layer in (g_a.patch, g_a.down, g_s.up, g_s.patch, entropy.first_head, entropy.second_head):
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()


Segments = list[tuple[int, int]]
"""Lengths of consecutive parts of a dimension, before and after."""


def _places(name: str, old: ImageConfig, new: ImageConfig) -> dict[int, Segments]:
    """Dimensions of a weight that several parts share, each of which grows at its own end."""
    features, latents = (old.hyper_width, new.hyper_width), (old.M, new.M)
    context = (old.context_width, new.context_width)
    part, _, _ = name.rpartition(".")
    deep = "deep_blocks" in name
    width = (old.deep_width, new.deep_width) if deep else (old.N, new.N)
    if part.endswith("feed_in"):
        return {0: [width] * 2}
    if name.endswith(".shifts"):
        return {1: [width] * 3}
    if part.endswith("detail_head"):
        return {}
    if part.endswith("detail_merge.0"):
        return {1: [features, (1, 1), context]}
    if part.endswith("_head"):
        seen = [features, (1, 1)] if part.endswith("first_head") else [features]
        return {0: [latents] * 2, 1: seen}
    if part.endswith("merge.0"):
        return {1: [features, (1, 1), *[context] * CONTEXTS]}
    return {}


def _embed(new: Tensor, old: Tensor, places: dict[int, Segments]) -> None:
    """Write the old values to their places; old outputs see no new inputs."""
    indexes = [
        torch.cat(list(_indexes(places.get(dim, [(have, want)])))).to(new.device)
        for dim, (have, want) in enumerate(zip(old.shape, new.shape, strict=True))
        if new.ndim
    ]
    if any(len(index) != size for index, size in zip(indexes, old.shape, strict=True)):
        raise ValueError(f"{tuple(old.shape)} does not grow into {tuple(new.shape)}")
    if new.ndim == 0:
        new.copy_(old)
        return
    if new.ndim == 4:
        new[indexes[0]] = 0
    grid = torch.meshgrid(*indexes, indexing="ij")
    new[grid] = old.to(new)


def _indexes(segments: Segments) -> Iterator[Tensor]:
    start = 0
    for have, want in segments:
        if want < have:
            raise ValueError(f"{have} channels do not grow into {want}")
        yield torch.arange(have) + start
        start += want
