from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nccli.catalogue import entries
from nccli.catalogue.load import load_file
from nccli.coding.payload import read_payload
from nccli.coding.sender import send
from nccli.coding.tiles import Shape, reconstruct
from nccli.entropy.rate import NUM_ANCHORS
from nccli.entropy.steps import LOWEST_LOG2_RATIO, ROWS_PER_OCTAVE
from nccli.errors import UnsupportedError
from nccli.media.metrics import psnr
from nccli.networks.entry import Entry
from nccli.networks.weights import ImageWeights
from nccli.train.image.course import Plan, Progress
from nccli.train.image.loop import Trainer, part_of, read_checkpoint, train
from nccli.train.image.loss import Rates, forward
from nccli.train.image.validate import VALIDATION
from nccli.train.pictures.data import Batch, Kind, Sampler, Tiles
from nccli.train.publish.export import load_average, publish
from nccli.train.publish.prune import pruned, used_channels
from nccli.train.publish.tie import QUIET, tie_scales
from tests.support import Pixels, analysed, run_python, setting_of
from tests.support.training import CPU

PLAN = Plan(minutes=10, batch=2, crop=64, warmup=4, flat=0.9, z_warmup=0.1, seed=3)
STEPS = 12

ANCHORS = torch.full((1, NUM_ANCHORS, 1, 1), 1 / NUM_ANCHORS)


@pytest.fixture(scope="module")
def trained(tiles: Tiles, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path, list[float]]:
    """A run of a few steps on one batch, and its checkpoint."""
    trainer = Trainer(PLAN, CPU)
    trainer.start(tiles)
    trainer.progress.seconds = 120.0
    batch = crops(tiles, 4, seed=1)
    losses = [loss_on(trainer, batch.x)]
    torch.manual_seed(0)
    for _ in range(STEPS):
        trainer.step(batch)
    losses.append(loss_on(trainer, batch.x))
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    trainer.save(path)
    return trainer, path, losses


def crops(tiles: Tiles, count: int, seed: int) -> Batch:
    """A batch of the plan."""
    return Sampler(tiles, PLAN.crop, PLAN.shrunk, PLAN.screens, seed).draw(count)


def loss_on(trainer: Trainer, x: Tensor) -> float:
    """The objective of rounded latents, each rate weighted as in training."""
    log2_lambda = torch.linspace(-10, -4, len(x))
    rates = Rates.uniform(log2_lambda)
    with torch.no_grad():
        measures = forward(trainer.model, x, rates, trainer.transforms(), rounded=True)
        return float((measures.objective * torch.exp2(-0.5 * log2_lambda)).mean())


def test_klt_start_is_a_good_transform_coder(tiles: Tiles) -> None:
    trainer = Trainer(PLAN, CPU)
    trainer.start(tiles)
    rows = trainer.validate(tiles.only(torch.arange(2, 6)))
    first = tiles.only(torch.arange(1))
    assert trainer.validate(first) == trainer.validate(first)
    *rows, regional, reduced, finest = rows
    best = rows[-1]
    assert best["lmbda"] == regional["lmbda"] == 0.06
    assert regional["drop"] == 4
    assert reduced["lmbda"] == 0.06
    assert reduced["tiles"] == finest["tiles"] == "half"
    assert finest["lmbda"] == 0.15
    assert finest["psnr"] > reduced["psnr"]
    assert reduced["bpp"] > best["bpp"]
    assert regional["bpp"] < 0.6 * best["bpp"]
    assert regional["loss"] < 0.6 * best["loss"]
    assert best["psnr"] > 30
    assert best["bpp"] < 4
    assert [r["psnr"] for r in rows] == sorted(r["psnr"] for r in rows)
    assert [r["bpp"] for r in rows] == sorted(r["bpp"] for r in rows)


def test_loss_falls_from_the_start(trained: tuple[Trainer, Path, list[float]]) -> None:
    trainer, _, (before, after) = trained
    assert math.isfinite(before)
    assert after < 0.98 * before
    assert trainer.progress.step == STEPS
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    moved = [
        not torch.equal(a, b)
        for a, b in zip(trainer.model.parameters(), trainer.average.parameters(), strict=True)
    ]
    assert sum(moved) > len(moved) / 2


def test_resuming_is_exact(trained: tuple[Trainer, Path, list[float]], tiles: Tiles) -> None:
    trainer, path, _ = trained
    resumed = Trainer(PLAN, CPU)
    resumed.load(path)
    assert resumed.progress == trainer.progress
    batch = crops(tiles, PLAN.batch, seed=9)
    for _ in range(2):
        for name, module in (("model", trainer.model), ("average", trainer.average)):
            ours = getattr(resumed, name).state_dict()
            assert all(torch.equal(ours[k], v) for k, v in module.state_dict().items())
        ours, theirs = (t.optimiser.state_dict() for t in (trainer, resumed))
        assert ours.keys() == theirs.keys()
        assert sum(k.endswith("rows_basis") for k in ours) > 10
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)
        losses = []
        for t in (trainer, resumed):
            torch.manual_seed(11)
            losses.append(float(t.step(batch)))
        assert losses[0] == losses[1]


def test_restarting_keeps_only_the_weights(trained: tuple[Trainer, Path, list[float]], tiles: Tiles) -> None:
    _, path, _ = trained
    fresh = Trainer(PLAN, CPU)
    fresh.begin_from(path, tiles)
    assert fresh.progress.step == 0
    assert not fresh.optimiser.started
    assert not fresh.optimiser.state_dict()
    raw = part_of(read_checkpoint(path)[0], "model.")
    assert all(torch.equal(raw[k], v) for k, v in fresh.model.state_dict().items())
    average = load_average(path).state_dict()
    assert all(torch.equal(average[k], v) for k, v in fresh.average.state_dict().items())


def test_learning_rate_schedule() -> None:
    plan = replace(PLAN, minutes=1, flat=0.5, warmup=10, z_warmup=0.5, rate=1e-3)

    def at(step: int, seconds: float) -> float:
        return Progress(step, 0, seconds).learning_rate(plan)

    assert at(0, 0) == pytest.approx(1e-4)
    assert at(9, 0) == at(500, 30) == pytest.approx(1e-3)
    assert at(500, 45) == pytest.approx(1e-3 * 0.51)
    assert at(500, 60) == at(500, 999) == pytest.approx(2e-5)
    weights = [Progress(seconds=seconds).z_weight(plan) for seconds in (0, 15, 30, 60)]
    assert weights == [0, 0.25, 1, 1]
    assert Progress().z_weight(replace(plan, z_warmup=0)) == 1


@pytest.fixture(scope="module")
def exported(
    trained: tuple[Trainer, Path, list[float]], tiles: Tiles, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ImageWeights, Path]:
    models = tmp_path_factory.mktemp("models")
    path = publish(trained[1], models, "tiny", "a test", tiles.pixels[:4])
    entry = Entry.of(json.loads((models / "index.json").read_text())[0])
    return load_file(path, entry, CPU), models


def test_export_is_listed_under_its_checksum(exported: tuple[ImageWeights, Path]) -> None:
    weights, models = exported
    entry = weights.entry
    digest = hashlib.sha256((models / entry.file).read_bytes()).hexdigest()
    assert (entry.name, entry.id, entry.sha256) == ("tiny", 1, digest)
    assert entry.file == f"tiny-{digest[:8]}.safetensors"


def test_a_second_export_gets_a_new_id(
    exported: tuple[ImageWeights, Path], trained: tuple[Trainer, Path, list[float]], tiles: Tiles
) -> None:
    _, models = exported
    publish(trained[1], models, "tiny", "again", tiles.pixels[:1])
    listed = json.loads((models / "index.json").read_text())
    assert [(item["id"], item["about"]) for item in listed] == [(2, "again"), (1, "a test")]
    assert all((models / item["file"]).exists() for item in listed)


def test_a_retired_model_keeps_its_id(
    exported: tuple[ImageWeights, Path],
    trained: tuple[Trainer, Path, list[float]],
    tiles: Tiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (old,) = [Entry.of(i) for i in json.loads((exported[1] / "index.json").read_text()) if i["id"] == 1]
    (tmp_path / "index.json").write_text(json.dumps([old.listed()]))
    (tmp_path / old.file).write_bytes(b"weights")
    path = publish(trained[1], tmp_path, "tiny", "new", tiles.pixels[:1], retire="gone with 0.2")
    assert {p.name for p in tmp_path.iterdir()} == {"index.json", path.name}
    monkeypatch.setattr(entries, "models_folder", lambda: tmp_path)
    entries.all_entries.cache_clear()
    try:
        assert [(entry.name, entry.id) for entry in entries.entries()] == [("tiny", 2)]
        with pytest.raises(UnsupportedError, match="model 1, 'tiny': gone"):
            entries.find_for_file(1, old.tag)
    finally:
        entries.all_entries.cache_clear()


def test_pruning_leaves_the_used_channels_of_z(
    trained: tuple[Trainer, Path, list[float]], tiles: Tiles
) -> None:
    model = copy.deepcopy(trained[0].average)
    silent = torch.arange(96) % 3 == 0
    with torch.no_grad():
        last = cast(nn.Conv2d, model.h_a.layers[-1])
        last.weight.mul_(30)
        last.weight[silent], cast(Tensor, last.bias)[silent] = 0, 0
        smaller = pruned(model, tiles.pixels[:3])
        kept = used_channels(model, tiles.pixels[:3])
        assert smaller.config.hyper_channels == int(kept.sum()) > 1
        assert not (kept & silent).any()
        y = model.analyse(tiles.pixels[:1].float() / 255, ANCHORS)
        step = torch.exp2(model.step_z.min())
        z, z_smaller = (torch.round(m.h_a(y) / step) * step for m in (model, smaller))
        assert torch.equal(z[:, kept], z_smaller)
        pairs = ((model, z.double()), (smaller, z_smaller.double()))
        features = [m.entropy.double().features(x, *y.shape[2:]) for m, x in pairs]
        torch.testing.assert_close(*features)
        ours = smaller.z_prior.likelihood(z_smaller, step)
        torch.testing.assert_close(ours, model.z_prior.likelihood(z, step)[:, kept])


def test_tied_scales_leave_the_density_alone(trained: tuple[Trainer, Path, list[float]]) -> None:
    model = copy.deepcopy(trained[0].average)
    y, step = torch.linspace(-3, 3, 50), torch.ones(50)

    def likelihood() -> Tensor:
        output = model.entropy.second_head(torch.ones(1, 192, 1, 1))[0, model.config.M :]
        return model.y_density.likelihood(y[None], torch.exp2(output[:, :, 0]), step)

    with torch.no_grad():
        before = likelihood()
        octaves = tie_scales(model)
        torch.testing.assert_close(likelihood(), before)
        lowest = torch.tensor(2 ** (LOWEST_LOG2_RATIO + 1 / ROWS_PER_OCTAVE))
        rows = torch.stack((lowest, lowest * 2 ** (1 / ROWS_PER_OCTAVE)))
        rest = 1 - model.y_density.likelihood(torch.zeros(2), rows, torch.ones(2))
    assert rest[0] <= QUIET < rest[1]
    assert tie_scales(model) == 0 != octaves


@pytest.mark.parametrize("lmbda", [0.002, 0.06])
def test_exported_weights_code_pictures(
    exported: tuple[ImageWeights, Path], astronaut: Pixels, lmbda: float
) -> None:
    weights, _ = exported
    pixels = astronaut[64:192, 128:300]
    with torch.inference_mode():
        latents = analysed(weights, pixels, lmbda)
        stream = send(weights, latents, setting_of(weights, lmbda))
        y_hat = read_payload(weights, latents.grid, stream.setting, stream.payload).y_hat
        x_hat = reconstruct(weights, y_hat, stream.setting.field(latents.grid), Shape(*pixels.shape[:2]))
    assert np.array_equal(y_hat, stream.y_hat)
    assert psnr(pixels, x_hat) > (24 if lmbda < 0.01 else 30)


def test_a_run_from_start_to_end(tiles: Tiles, tmp_path: Path) -> None:
    plan = replace(PLAN, minutes=0.01)
    trainer = Trainer(plan, CPU)
    trainer.start(tiles)
    held = Tiles(tiles.pixels[:2], torch.tensor([Kind.LOSSY, Kind.SCREEN]))
    train(trainer, tiles, held, tmp_path, save_minutes=1)
    (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert row["step"] == trainer.progress.step > 0
    assert row["images"] == 2 * row["step"]
    assert row["seconds"] >= 0.6
    assert math.isfinite(row["train_loss"])
    assert len(row["validation"]) == len(VALIDATION)
    assert row["tiles"] == len(tiles)
    resumed = Trainer(plan, CPU)
    resumed.load(tmp_path / "checkpoint.safetensors")
    assert resumed.progress.step == row["step"]


@pytest.mark.slow
def test_training_program(folder: Path, tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as out:
        out.add(folder / "a.png", "a.png")
    program = ("-m", "nccli.train")
    options = (
        "--minutes",
        "0.02",
        "--batch",
        "2",
        "--crop",
        "64",
        "--threads",
        "2",
        "-o",
        str(tmp_path / "run"),
    )
    for source, processes in ((folder, "1"), (shard, "2")):
        places = (str(folder / "inner"), str(source))
        result = run_python(*program, "image", *places, *options, "--processes", processes)
        assert result.returncode == 0, result.stderr
    assert "step 0" not in result.stdout.splitlines()[0]
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert rows[1]["step"] > rows[0]["step"]
    models = tmp_path / "models"
    result = run_python(
        *program, "export", str(tmp_path / "run"), str(folder), "--name", "tiny", "-o", str(models)
    )
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).parent == models
    result = run_python(*program, "evaluate", str(folder / "inner"), "--model", "s")
    assert result.returncode == 0, result.stderr
    *lines, silent = result.stdout.splitlines()
    assert re.fullmatch(r"silent channels: \d+ of 320", silent)
    points = [json.loads(line) for line in lines]
    assert [p["psnr"] for p in points] == sorted(p["psnr"] for p in points)
