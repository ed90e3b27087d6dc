"""Trains a size for two steps, resumes it and exports it, where most libraries cannot be imported.

Run as a script: STAGE SIZE FOLDER, the stage being `train` or `export`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

REFUSED = {
    "train": ["compressai", "click", "rich", "av", "tifffile", "matplotlib", "scipy", "constriction"],
    "export": ["compressai", "click", "rich", "av", "tifffile", "matplotlib", "scipy"],
}


class Refusal:
    """Finds no module of some libraries."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] in self._names:
            raise ImportError(f"{fullname} is refused")
        return None


def train(size: str, run: Path) -> None:
    import torch

    from nccli.train.image.course import Plan
    from nccli.train.image.loop import Trainer
    from nccli.train.pictures.data import Sampler, Tiles

    torch.manual_seed(1)
    plan = Plan(size=size, batch=2, crop=64, warmup=1, z_warmup=0.0)
    pixels = (
        torch.randint(256, (4, 8, 8, 3), dtype=torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    )
    tiles = Tiles(pixels.permute(0, 3, 1, 2), torch.tensor([0, 1, 2, 0]))
    sampler = Sampler(tiles, plan.crop, plan.shrunk, plan.screens, plan.seed)
    first = Trainer(plan, torch.device("cpu"))
    first.start(tiles)
    for _ in range(2):
        assert first.step(sampler.draw(plan.batch)).isfinite()
    first.save(run / "checkpoint.safetensors")
    second = Trainer(plan, torch.device("cpu"))
    second.load(run / "checkpoint.safetensors")
    assert second.progress == first.progress
    batch, losses = sampler.draw(plan.batch), []
    for trainer in (first, second):
        torch.manual_seed(2)
        losses.append(float(trainer.step(batch)))
    assert losses[0] == losses[1]
    second.save(run / "checkpoint.safetensors")


def export(size: str, run: Path) -> None:
    import torch

    from nccli.train.publish.export import publish

    generator = torch.Generator().manual_seed(3)
    tiles = torch.randint(256, (1, 64, 64, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)
    print(publish(run / "checkpoint.safetensors", run / "models", size, "a test", tiles))


if __name__ == "__main__":
    stage, size, folder = sys.argv[1:]
    sys.meta_path.insert(0, Refusal(REFUSED[stage]))
    {"train": train, "export": export}[stage](size, Path(folder))
