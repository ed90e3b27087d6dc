"""`python -m nccli.train profile`: where the time of a training step goes, on any device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from nccli.train.image.course import Plan
from nccli.train.image.loop import Trainer
from nccli.train.image.loss import Rates, forward, random_log2_lambda, training_loss
from nccli.train.pictures.data import TILE, Kind, Sampler, Tiles

PICTURES = 16
"""Tiles of noise to work on; what they show costs no time."""

WARM = 6
"""Steps before the clock starts: the first finds bases, three go before the recording."""

PORTION = 1.5
"""Seconds that one figure is measured over, at least one call."""


def profile(plan: Plan, device: torch.device, ways: list[str], fuse: bool) -> None:
    """Print milliseconds of a step for every way of depthwise filters, then those of its parts."""
    plan = replace(plan, warmup=1, minutes=1e6)
    pixels = torch.randint(256, (PICTURES, TILE, TILE, 3), dtype=torch.uint8, device=device)
    kinds = torch.full((PICTURES,), int(Kind.CLEAN), device=device)
    tiles = Tiles(pixels.permute(0, 3, 1, 2), kinds)
    print(f"{plan.size}: batches of {plan.batch} crops of {plan.crop}x{plan.crop} on {device}")
    for way in ways:
        trainer, sampler = _prepared(plan, device, tiles, way, fuse)
        ms = _milliseconds(lambda t=trainer, s=sampler: t.step(s.draw(plan.batch)), device)  # type: ignore[misc]
        print(f"step, filters by {way:8} {ms:9.2f} ms {_memory(device)}", flush=True)
    batch = sampler.draw(plan.batch)

    def forwards() -> torch.Tensor:
        rates = Rates.uniform(random_log2_lambda(batch.ceiling))
        return training_loss(forward(trainer.model, batch.x, rates, trainer.transforms()), rates, 1.0)

    def backwards() -> None:
        trainer.optimiser.zero_grad()
        forwards().backward()  # type: ignore[no-untyped-call]

    backwards()
    parts: dict[str, Callable[[], object]] = {
        "crops": lambda: sampler.draw(plan.batch),
        "forward, eager": forwards,
        "forward and backward, eager": backwards,
        "optimiser, eager": trainer.optimiser.step,
        f"turn of bases, each {plan.every} steps": lambda: trainer.optimiser.turn(plan.every),
    }
    for name, part in parts.items():
        print(f"{name:38} {_milliseconds(part, device):9.2f} ms", flush=True)


def _prepared(
    plan: Plan, device: torch.device, tiles: Tiles, way: str, fuse: bool
) -> tuple[Trainer, Sampler]:
    trainer = Trainer(plan, device)
    trainer.start(tiles)
    trainer.filter_by(way)
    if fuse:
        trainer.fuse()
    sampler = Sampler(tiles, plan.crop, plan.shrunk, plan.screens, seed=1)
    for _ in range(WARM * (plan.roi_every or 1)):
        trainer.step(sampler.draw(plan.batch))
    return trainer, sampler


def _milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Mean time of a call."""
    _wait(device)
    start, calls = time.monotonic(), 0
    while time.monotonic() - start < PORTION:
        work()
        calls += 1
        if calls % 8 == 0:
            _wait(device)
    _wait(device)
    return (time.monotonic() - start) * 1000 / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
