from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nccli import catalogue
from nccli.catalogue.entries import (
    all_entries,
    entries,
    find,
    find_for_file,
    find_mask_network,
    model_path,
    verify,
)
from nccli.catalogue.load import load_file, load_model
from nccli.errors import ModelError, UnsupportedError
from nccli.networks.entry import Entry, ModelKind
from nccli.networks.weights import ImageWeights, read_weights, save_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tensors(weights: ImageWeights) -> dict[str, Tensor]:
    return read_weights(model_path(weights.entry))[0]


def load_changed(weights: ImageWeights, tensors: dict[str, Tensor], folder: Path) -> ImageWeights:
    path = save_weights(tensors, weights.config, folder, "changed")
    return load_file(path, weights.entry, CPU)


def test_every_listed_model_is_there_and_intact() -> None:
    assert entries()
    assert len({entry.id for entry in entries()}) == len(entries())
    for entry in entries():
        assert verify(entry)
        assert entry.file == f"{entry.name}-{entry.sha256[:8]}.safetensors"
        assert find_for_file(entry.id, entry.tag) == entry


def test_models_are_found_by_name_and_tag() -> None:
    entry = find("s")
    assert entry.tag.hex() == entry.sha256[:8]
    with pytest.raises(ModelError, match="there are: "):
        find("nothing")
    with pytest.raises(UnsupportedError, match="00000000"):
        find_for_file(entry.id, bytes(4))


def test_a_model_is_loaded_once(weights: ImageWeights) -> None:
    assert load_model(weights.entry, "cpu") is weights


def test_loaded_networks_do_not_learn(weights: ImageWeights) -> None:
    for part in (weights.g_a, weights.g_s, weights.h_a):
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())
    layers = weights.network.layers
    assert len(layers) == 8 + 3  # of details
    assert all(layer.weight.dtype == np.int32 for layer in layers.values())


def test_saved_weights_come_back(weights: ImageWeights, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    again = load_changed(weights, tensors, tmp_path)
    assert again.config == weights.config
    assert np.array_equal(again.gain, weights.gain)
    assert np.array_equal(again.y_tables.frequencies, weights.y_tables.frequencies)
    ours, theirs = again.g_s.state_dict(), weights.g_s.state_dict()
    assert all(torch.equal(ours[k], v) for k, v in theirs.items())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("y_tables.frequencies", lambda t: t + 1),
        ("y_tables.starts", lambda t: t[:-1]),
        ("z_tables.lowest", lambda t: t[:-1]),
        ("gain", lambda t: t[:, :-1]),
        ("gain", lambda t: t + 10_000),
        ("power", lambda t: t[:-1]),
        ("g_a.patch.weight", lambda t: t[:-1]),
        ("entropy.first_head.weight", lambda t: t.sign() * 2**30 + t),
        ("entropy.second_head.weight", lambda t: t[:, :-1]),
        ("entropy.reduce.0.bias", lambda t: t[:-1]),
        ("entropy.hyper.0.shift", lambda t: t + 600),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    weights: ImageWeights, tensors: dict[str, Tensor], tmp_path: Path, name: str, change: object
) -> None:
    with pytest.raises(ModelError, match="do not fit"):
        load_changed(weights, tensors | {name: change(tensors[name])}, tmp_path)


def test_missing_tensors_are_refused(
    weights: ImageWeights, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    for name in ("gain", "spread", "g_s.up.weight", "entropy.merge.0.shift", "z_tables.starts"):
        with pytest.raises(ModelError):
            load_changed(weights, {k: v for k, v in tensors.items() if k != name}, tmp_path)


def test_files_that_are_no_weights_are_refused(weights: ImageWeights, tmp_path: Path) -> None:
    whole = model_path(weights.entry).read_bytes()
    for number, data in enumerate((b"", b"nonsense", whole[:1000], whole[:-100])):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(data)
        with pytest.raises(ModelError, match=str(number)):
            load_file(path, weights.entry, CPU)
    with pytest.raises(ModelError, match="absent"):
        load_file(tmp_path / "absent.safetensors", weights.entry, CPU)


def test_damaged_weights_are_never_used(
    weights: ImageWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong bit in the weights would decode every file to garbage."""
    damaged = bytearray(model_path(weights.entry).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / weights.entry.file).write_bytes(damaged)
    (tmp_path / "index.json").write_text(json.dumps([weights.entry.listed()]))
    monkeypatch.setattr(catalogue.entries, "models_folder", lambda: tmp_path)
    entry = replace(weights.entry, about="not loaded before")
    assert not verify(entry)
    with pytest.raises(ModelError, match="damaged"):
        load_model(entry, "cpu")
    (tmp_path / weights.entry.file).unlink()
    with pytest.raises(ModelError, match="missing"):
        load_model(entry, "cpu")


def test_one_catalogue_for_all_kinds() -> None:
    seg = find_mask_network("seg")
    assert seg.kind == ModelKind.MASK
    assert seg not in entries()
    with pytest.raises(ModelError, match="no model named 'seg'"):
        find("seg")
    with pytest.raises(UnsupportedError):
        find_for_file(seg.id, seg.tag)
    with pytest.raises(ModelError, match="makes masks"):
        load_model(seg)
    assert all(Entry.of(entry.listed()) == entry for entry in all_entries())
    with pytest.raises(ValueError, match="tea"):
        Entry.of(seg.listed() | {"kind": "tea"})
