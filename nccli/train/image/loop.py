"""The training loop: scheduled against the clock, resumable, with averaged weights."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nccli.entropy.grid import LATENT_STRIDE
from nccli.networks.image_model import CONFIGS, ImageModel
from nccli.networks.layers import Block, Depthwise
from nccli.train.image.course import Plan, Progress
from nccli.train.image.distortion import DISTORTIONS
from nccli.train.image.grow import fits, grow, model_of
from nccli.train.image.klt import klt_start, linear_layers
from nccli.train.image.loss import Rates, forward, random_log2_lambda, training_loss
from nccli.train.image.masks import random_drops
from nccli.train.image.validate import validate
from nccli.train.optimise.graph import Replayed
from nccli.train.optimise.soap import Soap
from nccli.train.optimise.team import ALONE, Team
from nccli.train.pictures.data import Batch, Sampler, Tiles
from nccli.train.pictures.incoming import Incoming

SEED_STRIDE = 2**32
"""Between the seeds of processes: more than any run has steps."""

LINEAR_RATE = 0.05
"""Learning rate of the KLT layers relative to the rest: Adam shakes them out of orthogonality at more."""

AHEAD = 4
"""Steps that an accelerator may be behind: the clock is to be that of work done."""


class Trainer:
    """Model, averaged weights and optimiser of one run."""

    def __init__(self, plan: Plan, device: torch.device, team: Team = ALONE) -> None:
        self.plan = plan
        self.device = device
        self.team = team
        self.progress = Progress()
        self.model = ImageModel(CONFIGS[plan.size]).to(device)
        self.average = ImageModel(CONFIGS[plan.size]).to(device)
        slow = {id(p) for layer in linear_layers(self.model) for p in layer.parameters()}
        if plan.details:
            self._freeze()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = Soap(
            (
                (1.0, [p for p in parameters if id(p) not in slow]),
                (LINEAR_RATE, [p for p in parameters if id(p) in slow]),
            ),
            every=plan.every,
            longest=plan.longest,
            bf16=plan.bf16,
        )
        self._z_weight = torch.zeros((), device=device)
        self._decay = torch.zeros((), device=device)
        self._updates = {
            whole: Replayed(self._update, device, self.optimiser.zero_grad) for whole in (True, False)
        }

    def transforms(self) -> contextlib.AbstractContextManager[object]:
        """The precision that g_a and g_s run in."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.plan.bf16, cache_enabled=self.device.type == "cpu"
        )

    def _freeze(self) -> None:
        """Only the network of the details' scales learns."""
        for name, p in self.model.named_parameters():
            p.requires_grad_(name.startswith("entropy.detail_"))

    def start(self, tiles: Tiles) -> None:
        """Initialise a new run from the KLT of the tiles."""
        klt_start(self.model, tiles.pixels)
        self.average.load_state_dict(self.model.state_dict())

    def filter_by(self, way: str) -> None:
        """Run depthwise filters in one of `Depthwise.WAYS`."""
        for module in (*self.model.modules(), *self.average.modules()):
            if isinstance(module, Depthwise):
                module.way = way

    def fuse(self) -> None:
        """Compile the residual blocks, which are alike: once for all of a shape."""
        for module in self.model.modules():
            if isinstance(module, Block):
                module.forward = torch.compile(module.forward, dynamic=False)  # type: ignore[method-assign]

    def step(self, batch: Batch) -> Tensor:
        """One optimiser step on this process's crops; returns its loss, without waiting for it."""
        whole = not self.plan.roi_every or self.progress.step % self.plan.roi_every != 0
        base = random_log2_lambda(batch.ceiling)
        drop = base.new_zeros(len(base), 1, 1)
        if not whole:
            height, width = batch.x.shape[2] // LATENT_STRIDE, batch.x.shape[3] // LATENT_STRIDE
            drop = random_drops(len(base), height, width, self.device)
        self.optimiser.lr.fill_(self.progress.learning_rate(self.plan))
        self._z_weight.fill_(self.progress.z_weight(self.plan))
        self._decay.fill_(min(self.plan.average, self.progress.step / (self.progress.step + 10)))
        update = self._updates[whole] if self.optimiser.started else self._update
        loss = update(batch.x, base, drop)
        self.progress.step += 1
        self.progress.images += len(base) * self.team.size
        self.optimiser.turn(self.progress.step)
        return loss

    def _update(self, x: Tensor, base: Tensor, drop: Tensor) -> Tensor:
        """Weights and averages after x (b, 3, h, w) at these rates; returns the loss."""
        rates = Rates(base, drop)
        measures = forward(self.model, x, rates, self.transforms(), measure=DISTORTIONS[self.plan.metric])
        loss = training_loss(measures, rates, self._z_weight)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average(p.grad for p in self.model.parameters() if p.grad is not None)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        targets: list[Tensor] = list(self.average.parameters())
        sources: list[Tensor] = list(self.model.parameters())
        steps = torch._foreach_sub(sources, targets)
        torch._foreach_mul_(steps, 1 - self._decay)
        torch._foreach_add_(targets, steps)

    def validate(self, tiles: Tiles) -> list[dict[str, object]]:
        """Averaged weights on tiles, see `validate.validate`."""
        return validate(self.average, tiles, self.transforms(), DISTORTIONS[self.plan.metric])

    def _metadata(self) -> dict[str, str]:
        return {"plan": json.dumps(asdict(self.plan)), "progress": json.dumps(asdict(self.progress))}

    def save(self, path: Path) -> None:
        """Everything needed to resume, as safetensors; replaced in one move."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"optimiser.{k}": v for k, v in self.optimiser.state_dict().items()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        part = path.with_suffix(".part")
        save_file(tensors, part, self._metadata())
        part.replace(path)

    def save_weights(self, path: Path) -> None:
        """Raw and averaged weights in half precision: enough for another run to go on from."""
        parts = (("model.", self.model), ("average.", self.average))
        tensors = {f"{prefix}{k}": v.half().cpu() for prefix, m in parts for k, v in m.state_dict().items()}
        save_file(tensors, path, self._metadata())

    def load(self, path: Path) -> None:
        """Resume from a checkpoint."""
        tensors, progress = read_checkpoint(path)
        self.model.load_state_dict(part_of(tensors, "model."))
        self.average.load_state_dict(part_of(tensors, "average."))
        self.optimiser.load_state_dict(part_of(tensors, "optimiser."))
        self.progress = progress

    def begin_from(self, path: Path, tiles: Tiles) -> None:
        """Begin a new schedule from a checkpoint's weights.

        Where the model is larger, it grows out of the averaged ones (`grow`). A checkpoint may lack the raw
        weights.
        """
        tensors, _ = read_checkpoint(path)
        raw, average = (part_of(tensors, part) for part in ("model.", "average."))
        if fits(average, self.average):
            self.model.load_state_dict(raw or average)
        else:
            average = average or raw
            grow(
                model_of({k: v.float() for k, v in average.items()}).to(self.device), self.model, tiles.pixels
            )
            average = self.model.state_dict()
        self.average.load_state_dict(average)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Progress]:
    """All tensors of a checkpoint, and where its run stood."""
    with safe_open(path, "pt") as file:
        tensors = {k: file.get_tensor(k).clone() for k in file.keys()}
        return tensors, Progress(**json.loads(file.metadata()["progress"]))


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class Pace:
    """Keeps a program from running far ahead of an accelerator."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events = deque[torch.cuda.Event]()

    def step(self) -> None:
        """Wait until at most `AHEAD` steps are outstanding."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call, unused-ignore]
        event.record()
        self._events.append(event)
        if len(self._events) > AHEAD:
            self._events.popleft().synchronize()


def train(
    trainer: Trainer,
    tiles: Tiles,
    held: Tiles,
    out: Path,
    save_minutes: float,
    incoming: Incoming | None = None,
) -> None:
    """Run the plan to its end: log, validate and checkpoint every `save_minutes`."""
    plan, progress, team = trainer.plan, trainer.progress, trainer.team
    team.agree([*trainer.model.state_dict().values(), *trainer.average.state_dict().values()])
    seed = plan.seed + progress.step + SEED_STRIDE * team.rank
    torch.manual_seed(seed)
    sampler = Sampler(tiles, plan.crop, plan.shrunk, plan.screens, seed)
    share, pace = team.share(plan.batch), Pace(trainer.device)
    last_clock = last_save = time.monotonic()
    last_step, losses = progress.step, list[Tensor]()
    while True:
        losses.append(trainer.step(sampler.draw(share)))
        pace.step()
        clock = time.monotonic()
        elapsed = torch.tensor(clock - last_clock, dtype=torch.float64)
        team.average([elapsed])
        progress.seconds += float(elapsed)
        last_clock = clock
        done = progress.seconds >= plan.minutes * 60
        if incoming and (more := incoming.poll()):
            sampler.tiles = sampler.tiles.with_more(more.to(trainer.device))
        if team.leads and (clock - last_save >= save_minutes * 60 or done):
            speed = (progress.step - last_step) / (clock - last_save)
            trainer.save(out / "checkpoint.safetensors")
            row = asdict(progress) | {
                "steps_per_second": speed,
                "learning_rate": progress.learning_rate(plan),
                "tiles": len(sampler.tiles),
                "train_loss": float(torch.stack(losses).mean()),
                "validation": trainer.validate(held),
            }
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            last_save, last_step, losses = time.monotonic(), progress.step, []
        if done:
            return
