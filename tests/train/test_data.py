"""Training pictures into tiles, and tiles into batches."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nccli.train.pictures.data import (
    CEILINGS,
    CLEAN_SHARE,
    Batch,
    Kind,
    Sampler,
    Tiles,
    crops_of,
    load_tiles,
    shrunk,
    split,
    weights_of,
)
from tests.support import Pixels
from tests.support.training import pictures, tiles_of


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: Tiles, b: Tiles) -> bool:
    return torch.equal(a.pixels, b.pixels) and torch.equal(a.kinds, b.kinds)


def test_folder_and_tar_shard_give_the_same_tiles(folder: Path, tiles: Tiles, tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as out:
        for item in sorted(p for p in folder.rglob("*") if p.is_file()):
            out.add(item, item.name)
        info = tarfile.TarInfo("remark.png")
        info.size = 3
        out.addfile(info, io.BytesIO(b"abc"))
    assert same(load_tiles([shard], size=256, workers=1), tiles)
    assert same(load_tiles([tmp_path], size=256, workers=1), tiles)


def test_tiles_are_cut_from_the_pictures(
    tiles: Tiles, astronaut: Pixels, coffee: Pixels, chelsea: Pixels
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
    assert tiles.pixels.dtype == torch.uint8
    assert np.array_equal(tiles.pixels.permute(0, 2, 3, 1).numpy(), np.stack(cut))


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image"):
        load_tiles([tmp_path], size=64, workers=1)


def test_kinds_are_told_by_the_names_of_files(tmp_path: Path, coffee: Pixels) -> None:
    for name, width in (("a-photo", 64), ("photo-1", 128), ("screen-1", 64)):
        Image.fromarray(coffee[:64, :width]).save(tmp_path / f"{name}.png")
    shard = tmp_path / "screen-shard.tar"
    with tarfile.open(shard, "w") as out:
        out.add(tmp_path / "photo-1.png", "photo-2.png")
    loaded = load_tiles([tmp_path], size=64, workers=1)
    assert loaded.kinds.tolist() == [Kind.LOSSY, *[Kind.CLEAN] * 2, Kind.SCREEN, *[Kind.CLEAN] * 2]


def test_split_keeps_every_fiftieth_tile() -> None:
    training, held = split(Tiles(torch.arange(120)[:, None], torch.arange(120) % 3))
    assert held.pixels.flatten().tolist() == [0, 50, 100]
    assert held.kinds.tolist() == [0, 2, 1]
    found = [*training.pixels.flatten().tolist(), *held.pixels.flatten().tolist()]
    assert sorted(found) == list(range(120))


def orientations(x: Tensor) -> list[Tensor]:
    """The eight of a picture (3, n, n)."""
    return [t.flip(dims) for t in (x, x.transpose(1, 2)) for dims in ([], [1], [2], [1, 2])]


def test_crops_are_repeatable_pieces_of_their_tiles(tiles: Tiles) -> None:
    picks = torch.tensor([3, 0, 6, 3, 5, 1])
    first, again, other = (crops_of(tiles.pixels, picks, 64, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (6, 3, 64, 64)
    assert first.is_contiguous(memory_format=torch.channels_last)
    for crop, pick in zip((first * 255).round().to(torch.uint8), picks, strict=True):
        tile = tiles.pixels[pick]
        corner = tile.unfold(1, 64, 1).unfold(2, 64, 1)[..., 0, 0].permute(1, 2, 0)
        assert any(
            torch.equal(tile[:, top : top + 64, left : left + 64], piece)
            for piece in orientations(crop)
            for top, left in (corner == piece[:, 0, 0]).all(-1).nonzero().tolist()
        )


def test_crops_are_from_everywhere_in_a_tile() -> None:
    """Every corner of a row and column appears, the last ones too."""
    tile = torch.arange(25, dtype=torch.uint8).reshape(1, 1, 5, 5).expand(1, 3, 5, 5)
    crops = crops_of(tile, torch.zeros(300, dtype=torch.int64), 3, seeded(1))
    assert {round(float(v) * 255) for v in crops[:, 0, 1, 1]} == {6, 7, 8, 11, 12, 13, 16, 17, 18}


def test_crops_come_in_all_eight_orientations() -> None:
    tile = torch.arange(27, dtype=torch.uint8).reshape(1, 3, 3, 3)
    crops = crops_of(tile, torch.zeros(200, dtype=torch.int64), 3, seeded(1))
    found = {tuple((crop * 255).round().int().flatten().tolist()) for crop in crops}
    assert found == {tuple(t.flatten().tolist()) for t in orientations(tile[0])}


def test_shrunk_crops_are_smaller_pictures() -> None:
    ramp = torch.arange(0, 240, 2, dtype=torch.uint8).expand(1, 3, 120, 120)
    sampler = Sampler(tiles_of(ramp), 60, shrunk=1.0, screens=0.1, seed=2)
    slopes = []
    for _ in range(20):
        batch = sampler.draw(2)
        assert batch.x.shape == (2, 3, 60, 60)
        assert batch.x.is_contiguous(memory_format=torch.channels_last)
        levels = batch.x * 255
        assert torch.allclose(levels, levels.round(), atol=1e-3)
        for level in levels:
            along = [float(level.diff(dim=dim)[:, 8:-8, 8:-8].abs().mean()) for dim in (1, 2)]
            slopes.append(max(along))
    assert min(slopes) >= 1.9
    assert max(slopes) <= 4.1
    assert max(slopes) - min(slopes) > 1


def test_shrinking_keeps_eight_bits() -> None:
    x = shrunk(torch.rand(2, 3, 40, 40, generator=seeded(1)), 20) * 255
    assert x.shape == (2, 3, 20, 20)
    assert torch.allclose(x, x.round(), atol=1e-3)
    assert 0 <= float(x.min()) <= float(x.max()) <= 255


COUNTS = {Kind.LOSSY: 40, Kind.CLEAN: 5, Kind.SCREEN: 3}


def flat_tiles(counts: dict[Kind, int] = COUNTS) -> Tiles:
    """Every picture has one value: that of its kind."""
    kinds = torch.tensor([int(kind) for kind, count in counts.items() for _ in range(count)])
    pixels = kinds.to(torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    return Tiles(pixels, kinds)


def shares(batches: Sequence[Batch]) -> list[float]:
    """Of lossy, clean and screen crops."""
    values = (torch.cat([b.x[:, 0, 0, 0] for b in batches]) * 255).round()
    return [float((values == int(kind)).float().mean()) for kind in Kind]


def drawn(shrunk: float, screens: float = 0.2, seed: int = 1) -> list[Batch]:
    sampler = Sampler(flat_tiles(), 8, shrunk, screens, seed)
    return [sampler.draw(50) for _ in range(80)]


def test_shares_of_screens_and_clean_tiles() -> None:
    own, reduced = shares(drawn(0.0)), shares(drawn(1.0))
    clean = 0.8 * CLEAN_SHARE
    assert own == pytest.approx([0.8 - clean, clean, 0.2], abs=0.03)
    assert reduced == pytest.approx([0.8 * 40 / 45, 0.8 * 5 / 45, 0.2], abs=0.03)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (Kind.SCREEN, [0.5, 0.5, 0]),
        (Kind.CLEAN, [0.8, 0, 0.2]),
        (Kind.LOSSY, [0, 0.8, 0.2]),
    ],
)
def test_shares_of_missing_kinds_go_to_the_others(missing: Kind, expected: list[float]) -> None:
    kinds = flat_tiles({kind: count for kind, count in COUNTS.items() if kind != missing}).kinds
    weights = weights_of(kinds, 0.2, 0.5)
    assert [float(weights[kinds == int(kind)].sum()) for kind in Kind] == pytest.approx(expected)
    only = torch.full((4,), int(Kind.SCREEN))
    assert weights_of(only, 0.2, 0.5).tolist() == [0.25] * 4


def test_lossy_tiles_of_their_own_size_have_a_ceiling() -> None:
    for batch in drawn(0.0):
        lossy = (batch.x[:, 0, 0, 0] * 255).round() == int(Kind.LOSSY)
        assert (batch.ceiling[lossy] == torch.tensor(CEILINGS[Kind.LOSSY])).all()
        assert (batch.ceiling[~lossy] == math.inf).all()
    assert all((batch.ceiling == math.inf).all() for batch in drawn(1.0))


def test_batches_are_repeatable_by_seed() -> None:
    def batches(seed: int) -> Tensor:
        sampler = Sampler(pictures(4, 64), 32, 0.5, 0.1, seed)
        return torch.stack([sampler.draw(3).x for _ in range(8)])

    assert torch.equal(batches(1), batches(1))
    assert not torch.equal(batches(1), batches(2))


def test_tiles_join_while_a_sampler_runs() -> None:
    sampler = Sampler(flat_tiles({Kind.LOSSY: 2}), 8, 0.0, 0.3, seed=1)
    before = [sampler.draw(20) for _ in range(20)]
    sampler.tiles = sampler.tiles.with_more(flat_tiles({Kind.CLEAN: 1, Kind.SCREEN: 1}))
    after = [sampler.draw(50) for _ in range(80)]
    assert len(sampler.tiles) == 4
    assert shares(before) == [1, 0, 0]
    assert shares(after) == pytest.approx([0.35, 0.35, 0.3], abs=0.03)
