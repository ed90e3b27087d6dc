from __future__ import annotations

import copy
import hashlib
import io
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
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
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
from nccli.train import data
from nccli.train.export import load_average, publish
from nccli.train.loop import VALIDATION, Plan, Trainer, batches, train
from nccli.train.loss import Rates, forward
from nccli.train.prune import pruned, used_channels
from nccli.train.tie import QUIET, tie_scales
from tests.support import Pixels, analysed, run_python, setting_of

CPU = torch.device("cpu")
PLAN = Plan(minutes=10, batch=2, crop=64, warmup=4, flat=0.9, z_warmup=0.1, seed=3)
STEPS = 12

ANCHORS = torch.full((1, NUM_ANCHORS, 1, 1), 1 / NUM_ANCHORS)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, astronaut: Pixels, coffee: Pixels, chelsea: Pixels
) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    (path / "inner").mkdir()
    Image.fromarray(astronaut).save(path / "a.png")
    Image.fromarray(coffee).save(path / "inner" / "b.webp", lossless=True)
    Image.fromarray(chelsea).save(path / "c.PNG")
    Image.fromarray(chelsea[:50]).save(path / "too-small.png")
    (path / "broken.png").write_bytes((path / "a.png").read_bytes()[:5000])
    (path / "noise.jpg").write_bytes(bytes(100))
    (path / "notes.txt").write_text("not a picture")
    return path


@pytest.fixture(scope="module")
def tiles(folder: Path) -> Tensor:
    return data.load_tiles([folder], size=256, workers=2)


@pytest.fixture(scope="module")
def trained(tiles: Tensor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path, list[float]]:
    """A run of a few steps on one batch, and its checkpoint."""
    trainer = Trainer(PLAN, CPU)
    trainer.start(tiles)
    trainer.progress.seconds = 120.0
    x = next(batches(tiles, replace(PLAN, batch=4), seed=1))
    losses = [loss_on(trainer, x)]
    torch.manual_seed(0)
    for _ in range(STEPS):
        trainer.step(x)
    losses.append(loss_on(trainer, x))
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    trainer.save(path)
    return trainer, path, losses


def loss_on(trainer: Trainer, x: Tensor) -> float:
    """The objective of rounded latents, each rate weighted as in training."""
    log2_lambda = torch.linspace(-10, -4, len(x))
    rates = Rates.uniform(log2_lambda)
    with torch.no_grad():
        measures = forward(trainer.model, x, rates, trainer.transforms(), rounded=True)
        return float((measures.objective * torch.exp2(-0.5 * log2_lambda)).mean())


def test_folder_and_tar_shard_give_the_same_tiles(folder: Path, tiles: Tensor, tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as out:
        for item in sorted(p for p in folder.rglob("*") if p.is_file()):
            out.add(item, item.name)
        info = tarfile.TarInfo("remark.png")
        info.size = 3
        out.addfile(info, io.BytesIO(b"abc"))
    assert torch.equal(data.load_tiles([shard], size=256, workers=1), tiles)
    assert torch.equal(data.load_tiles([tmp_path], size=256, workers=1), tiles)


def test_tiles_are_cut_from_the_pictures(
    tiles: Tensor, astronaut: Pixels, coffee: Pixels, chelsea: Pixels
) -> None:
    cut = [
        p[i : i + 256, j : j + 256]
        for p, i, j in [
            (astronaut, 0, 0),
            (astronaut, 0, 256),
            (astronaut, 256, 0),
            (astronaut, 256, 256),
            (chelsea, 0, 0),
            (coffee, 0, 0),
            (coffee, 0, 256),
        ]
    ]
    assert tiles.dtype == torch.uint8
    assert np.array_equal(tiles.permute(0, 2, 3, 1).numpy(), np.stack(cut))


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image"):
        data.load_tiles([tmp_path], size=64, workers=1)


def test_split_keeps_every_fiftieth_tile() -> None:
    numbers = torch.arange(120)[:, None]
    training, held = data.split(numbers)
    assert held.flatten().tolist() == [0, 50, 100]
    assert sorted([*training.flatten().tolist(), *held.flatten().tolist()]) == list(range(120))


def test_crops_are_repeatable_pieces_of_the_tiles(tiles: Tensor) -> None:
    first, again, other = (
        data.random_crops(tiles, 8, 64, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (8, 3, 64, 64)
    crop = (first[0] * 255).round().to(torch.uint8)
    turned = [c.flip(dims) for c in (crop, crop.transpose(1, 2)) for dims in ([], [1], [2], [1, 2])]
    windows = tiles[:, :, :, :].unfold(2, 64, 1).unfold(3, 64, 1)
    corner = windows[..., 0, 0].permute(0, 2, 3, 1)
    found = False
    for piece in turned:
        for tile, top, left in (corner == piece[:, 0, 0]).all(-1).nonzero().tolist():
            found |= torch.equal(tiles[tile, :, top : top + 64, left : left + 64], piece)
    assert found


def test_crops_come_in_all_eight_orientations() -> None:
    tile = torch.arange(27, dtype=torch.uint8).reshape(1, 3, 3, 3)
    crops = data.random_crops(tile, 200, 3, torch.Generator().manual_seed(1))
    found = {tuple((crop * 255).round().int().flatten().tolist()) for crop in crops}
    turned = [t.flip(dims) for t in (tile[0], tile[0].transpose(1, 2)) for dims in ([], [1], [2], [1, 2])]
    assert found == {tuple(t.flatten().tolist()) for t in turned}


def test_shrunk_crops_are_smaller_pictures() -> None:
    ramp = torch.arange(0, 240, 2, dtype=torch.uint8).expand(1, 3, 120, 120)
    generator = torch.Generator().manual_seed(2)
    slopes = []
    for _ in range(20):
        crops = data.shrunk_crops(ramp, 2, 60, generator)
        assert crops.shape == (2, 3, 60, 60)
        levels = crops * 255
        assert torch.allclose(levels, levels.round(), atol=1e-3)
        for level in levels:
            along = [float(level.diff(dim=dim)[:, 8:-8, 8:-8].abs().mean()) for dim in (1, 2)]
            slopes.append(max(along))
    assert min(slopes) >= 1.9
    assert max(slopes) <= 4.1
    assert max(slopes) - min(slopes) > 1


def test_klt_start_is_a_good_transform_coder(tiles: Tensor) -> None:
    trainer = Trainer(PLAN, CPU)
    trainer.start(tiles)
    rows = trainer.validate(tiles[2:6])
    assert trainer.validate(tiles[:1]) == trainer.validate(tiles[:1])
    *rows, regional, reduced = rows
    best = rows[-1]
    assert best["lmbda"] == regional["lmbda"] == 0.06
    assert regional["drop"] == 4
    assert reduced["lmbda"] == 0.06
    assert reduced["shrunk"]
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


def test_resuming_is_exact(trained: tuple[Trainer, Path, list[float]], tiles: Tensor) -> None:
    trainer, path, _ = trained
    resumed = Trainer(PLAN, CPU)
    resumed.load(path, restart=False)
    assert resumed.progress == trainer.progress
    x = next(batches(tiles, PLAN, seed=9))
    for _ in range(2):
        for name, module in (("model", trainer.model), ("average", trainer.average)):
            ours = getattr(resumed, name).state_dict()
            assert all(torch.equal(ours[k], v) for k, v in module.state_dict().items())
        states = [[t.optimiser.state.get(p, {}) for p in t.model.parameters()] for t in (trainer, resumed)]
        assert [s.keys() for s in states[0]] == [s.keys() for s in states[1]]
        assert sum("rows_basis" in s for s in states[0]) > 20
        for a, b in zip(*states, strict=True):
            assert all(torch.equal(a[k], b[k]) for k in a)
        losses = []
        for t in (trainer, resumed):
            torch.manual_seed(11)
            losses.append(t.step(x))
        assert losses[0] == losses[1]


def test_restarting_keeps_only_the_weights(trained: tuple[Trainer, Path, list[float]]) -> None:
    _, path, _ = trained
    fresh = Trainer(PLAN, CPU)
    fresh.load(path, restart=True)
    assert fresh.progress.step == 0
    assert not fresh.optimiser.state
    average = load_average(path).state_dict()
    assert all(torch.equal(average[k], v) for k, v in fresh.average.state_dict().items())


def test_a_model_may_grow(trained: tuple[Trainer, Path, list[float]], tmp_path: Path) -> None:
    _, path, _ = trained
    with safe_open(path, "pt") as file:
        state = {k: file.get_tensor(k) for k in file.keys()}
        metadata = file.metadata()
    later = (".overlap.", ".g_a.blocks.4.", ".g_a.blocks.0.gates", ".shifts")
    small = {k: v for k, v in state.items() if not any(part in k for part in later)}
    assert len(small) < len(state)
    save_file(small, tmp_path / "small.safetensors", metadata)
    grown = Trainer(PLAN, CPU)
    grown.load(tmp_path / "small.safetensors", restart=True)
    assert not grown.model.g_s.overlap.mix.weight.any()
    assert (grown.model.g_a.blocks[0].gates == 1).all()
    assert not grown.model.g_s.blocks[0].shifts.any()
    assert torch.equal(grown.model.g_s.patch.weight, state["model.g_s.patch.weight"])
    save_file(small | {"model.more": torch.zeros(1)}, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(ValueError, match="more"):
        grown.load(tmp_path / "odd.safetensors", restart=True)
    for lost in ("g_s.patch.weight", "g_a.blocks.0.mix_in.weight"):
        torn = {k: v for k, v in small.items() if k != f"model.{lost}"}
        save_file(torn, tmp_path / "torn.safetensors", metadata)
        with pytest.raises(ValueError, match=lost):
            grown.load(tmp_path / "torn.safetensors", restart=True)
    with pytest.raises(RuntimeError, match="overlap"):
        grown.load(tmp_path / "small.safetensors", restart=False)


def test_learning_rate_schedule() -> None:
    trainer = Trainer(replace(PLAN, minutes=1, flat=0.5, warmup=10, z_warmup=0.5, rate=1e-3), CPU)

    def at(step: int, seconds: float) -> float:
        trainer.progress.step, trainer.progress.seconds = step, seconds
        return trainer.learning_rate()

    assert at(0, 0) == pytest.approx(1e-4)
    assert at(9, 0) == at(500, 30) == pytest.approx(1e-3)
    assert at(500, 45) == pytest.approx(1e-3 * 0.51)
    assert at(500, 60) == at(500, 999) == pytest.approx(2e-5)
    weights = []
    for seconds in (0, 15, 30, 60):
        trainer.progress.seconds = seconds
        weights.append(trainer.z_weight())
    assert weights == [0, 0.25, 1, 1]
    assert Trainer(replace(PLAN, z_warmup=0), CPU).z_weight() == 1


@pytest.fixture(scope="module")
def exported(
    trained: tuple[Trainer, Path, list[float]], tiles: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ImageWeights, Path]:
    models = tmp_path_factory.mktemp("models")
    path = publish(trained[1], models, "tiny", "a test", tiles[:4])
    entry = Entry.of(json.loads((models / "index.json").read_text())[0])
    return load_file(path, entry, CPU), models


def test_export_is_listed_under_its_checksum(exported: tuple[ImageWeights, Path]) -> None:
    weights, models = exported
    entry = weights.entry
    digest = hashlib.sha256((models / entry.file).read_bytes()).hexdigest()
    assert (entry.name, entry.id, entry.sha256) == ("tiny", 1, digest)
    assert entry.file == f"tiny-{digest[:8]}.safetensors"


def test_a_second_export_gets_a_new_id(
    exported: tuple[ImageWeights, Path], trained: tuple[Trainer, Path, list[float]], tiles: Tensor
) -> None:
    _, models = exported
    publish(trained[1], models, "tiny", "again", tiles[:1])
    listed = json.loads((models / "index.json").read_text())
    assert [(item["id"], item["about"]) for item in listed] == [(2, "again"), (1, "a test")]
    assert all((models / item["file"]).exists() for item in listed)


def test_a_retired_model_keeps_its_id(
    exported: tuple[ImageWeights, Path],
    trained: tuple[Trainer, Path, list[float]],
    tiles: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (old,) = [Entry.of(i) for i in json.loads((exported[1] / "index.json").read_text()) if i["id"] == 1]
    (tmp_path / "index.json").write_text(json.dumps([old.listed()]))
    (tmp_path / old.file).write_bytes(b"weights")
    path = publish(trained[1], tmp_path, "tiny", "new", tiles[:1], retire="gone with 0.2")
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
    trained: tuple[Trainer, Path, list[float]], tiles: Tensor
) -> None:
    model = copy.deepcopy(trained[0].average)
    silent = torch.arange(96) % 3 == 0
    with torch.no_grad():
        last = cast(nn.Conv2d, model.h_a.layers[-1])
        last.weight.mul_(30)
        last.weight[silent], cast(Tensor, last.bias)[silent] = 0, 0
        smaller = pruned(model, tiles[:3])
        kept = used_channels(model, tiles[:3])
        assert smaller.config.hyper_channels == int(kept.sum()) > 1
        assert not (kept & silent).any()
        y = model.analyse(tiles[:1].float() / 255, ANCHORS)
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


def test_a_run_from_start_to_end(tiles: Tensor, tmp_path: Path) -> None:
    plan = replace(PLAN, minutes=0.01)
    trainer = Trainer(plan, CPU)
    trainer.start(tiles)
    train(trainer, tiles, tiles[:1], tmp_path, save_minutes=1)
    (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert row["step"] == trainer.progress.step > 0
    assert row["images"] == 2 * row["step"]
    assert row["seconds"] >= 0.6
    assert math.isfinite(row["train_loss"])
    assert len(row["validation"]) == len(VALIDATION)
    resumed = Trainer(plan, CPU)
    resumed.load(tmp_path / "checkpoint.safetensors", restart=False)
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
