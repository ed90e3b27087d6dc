"""Export: averaged float weights -> integer entropy path, integer tables, a safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nccli.entropy.steps import STEP_UNIT, power_table
from nccli.networks.entry import Entry
from nccli.networks.image_model import ImageConfig, ImageModel
from nccli.networks.weights import (
    ImageWeights,
    assemble_weights,
    layer_tensors,
    save_weights,
    table_tensors,
    to_integer,
)
from nccli.train.image.course import plan_of
from nccli.train.image.distortion import DISTORTIONS
from nccli.train.image.grow import model_of
from nccli.train.image.loop import part_of, read_checkpoint
from nccli.train.publish.calibrate import calibrate
from nccli.train.publish.fitting import density_tables, prior_tables
from nccli.train.publish.prune import pruned
from nccli.train.publish.tie import tie_scales

SIGNAL_LAYERS = ("overlap", "patch", "down", "up")
"""Layers whose weights stay in float32: the whole signal passes through them."""

PRUNING_TILES = 200
"""Pictures that a channel of z must be silent on to be left out."""


def load_average(checkpoint: Path) -> ImageModel:
    """The averaged weights of a checkpoint."""
    tensors, _ = read_checkpoint(checkpoint)
    return model_of({k: v.float() for k, v in part_of(tensors, "average.").items()})


def _float_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Half precision but for the signal layers."""
    return {
        f"{prefix}.{k}": v if k.split(".")[0] in SIGNAL_LAYERS else v.half()
        for k, v in module.state_dict().items()
    }


def exact_tensors(model: ImageModel) -> dict[str, Tensor]:
    """What the weights file of a model holds, its tables being those of the densities that it has learned."""
    tensors = layer_tensors(to_integer(model.entropy), "entropy.")
    for part in ("g_a", "g_s", "h_a"):
        tensors |= _float_tensors(getattr(model, part), part)
    tensors |= {
        "gain": torch.round(model.gain * STEP_UNIT).to(torch.int32),
        "step_z": torch.round(model.step_z * STEP_UNIT).to(torch.int32),
        "power": torch.from_numpy(power_table()).to(torch.int32),
        "spread": model.spread,
    }
    if model.config.detail:
        tensors["details.basis"] = model.details.basis
        tensors["detail_gain"] = torch.round(model.detail_step * STEP_UNIT).to(torch.int32)
    tensors |= table_tensors(prior_tables(model.z_prior), "z_tables")
    return tensors | table_tensors(density_tables(model.y_density), "y_tables")


def assembled(tensors: dict[str, Tensor], config: ImageConfig) -> ImageWeights:
    """The model of `exact_tensors`, ready to code, with no place in a catalogue."""
    draft = Entry(name=config.name, id=0, file="", sha256="", about="")
    return assemble_weights(tensors, config, draft, torch.device("cpu"))


def export(checkpoint: Path, folder: Path, name: str, tiles: Tensor) -> Path:
    """Write the model file of a checkpoint, its tables fitted on `tiles`, and return its path."""
    model = pruned(load_average(checkpoint), tiles[:: max(len(tiles) // PRUNING_TILES, 1)])
    tie_scales(model)
    tensors = exact_tensors(model)
    weights = assembled(tensors, model.config)
    weights = calibrate(weights, tiles, DISTORTIONS[plan_of(checkpoint).metric])
    tensors["gain"] = torch.from_numpy(weights.gain).to(torch.int32)
    if weights.details is not None:
        tensors["detail_gain"] = torch.from_numpy(weights.details.gain).to(torch.int32)
    tensors |= table_tensors(weights.y_tables, "y_tables")
    return save_weights(tensors, model.config, folder, name)


def publish(checkpoint: Path, folder: Path, name: str, about: str, tiles: Tensor, retire: str = "") -> Path:
    """Export into a models folder and put the model first in its catalogue, under a new id.

    With a reason to `retire`, older models of the name lose their files and keep their ids.
    """
    path = export(checkpoint, folder, name, tiles)
    index = folder / "index.json"
    listed = [Entry.of(item) for item in json.loads(index.read_text())] if index.exists() else []
    if retire:
        listed = [_retired(entry, folder, retire) if entry.name == name else entry for entry in listed]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    number = max((entry.id for entry in listed), default=0) + 1
    listed.insert(0, Entry(name=name, id=number, file=path.name, sha256=digest, about=about))
    index.write_text(json.dumps([entry.listed() for entry in listed], indent=2) + "\n")
    return path


def _retired(entry: Entry, folder: Path, reason: str) -> Entry:
    """Remove an entry's weights and card."""
    for old in (folder / entry.file, (folder / entry.file).with_suffix(".md")):
        old.unlink(missing_ok=True)
    return replace(entry, retired=entry.retired or reason)
