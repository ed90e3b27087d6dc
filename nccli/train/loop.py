"""The training loop: scheduled against the clock, resumable, with averaged weights."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nccli.entropy.grid import LATENT_STRIDE
from nccli.networks.image_model import CONFIGS, ImageModel
from nccli.networks.layers import Block, Overlap
from nccli.train import data
from nccli.train.distortion import DISTORTIONS
from nccli.train.klt import klt_start, linear_layers
from nccli.train.loss import Measures, Rates, forward, random_log2_lambda, training_loss
from nccli.train.masks import disc_drops, random_drops
from nccli.train.soap import Soap
from nccli.train.team import ALONE, Team

VALIDATION = (
    (0.0015, 0.0, False),
    (0.01, 0.0, False),
    (0.06, 0.0, False),
    (0.06, 4.0, False),
    (0.06, 0.0, True),
)
"""lambda in the region of interest, a disc; octaves of lambda below it outside; half-size tiles."""

SEED_STRIDE = 2**32
"""Between the seeds of processes: more than any run has steps."""

LINEAR_RATE = 0.05
"""Learning rate of the KLT layers relative to the rest: Adam shakes them out of orthogonality at more."""


@dataclass(frozen=True)
class Plan:
    """One run's settings.

    Attributes:
        size: model size, a key of `CONFIGS`.
        minutes: wall-clock budget; the learning rate is annealed to end with it.
        batch: crops per step, of all processes together.
        crop: side of a crop in pixels, a multiple of 64.
        rate: peak learning rate.
        flat: fraction of the budget at the peak rate before the cosine fall to 2 %.
        warmup: steps of linear warm-up.
        z_warmup: fraction of the budget over which the bits of z come to count in full; 0 for at once.
        average: decay of the averaged weights per step.
        seed: seed of crops and noise.
        bf16: run the transforms in bfloat16.
        roi_every: every so many steps, the whole batch has random regions of interest; 0 for never.
        shrunk: share of the batches that are made of tiles of reduced size.
        metric: the distortion to train for, a key of `DISTORTIONS`.
    """

    size: str = "s"
    minutes: float = 60.0
    batch: int = 8
    crop: int = 192
    rate: float = 1e-3
    flat: float = 0.35
    warmup: int = 200
    z_warmup: float = 0.5
    average: float = 0.999
    seed: int = 1
    bf16: bool = False
    roi_every: int = 4
    shrunk: float = 0.75
    metric: str = "mse"


@dataclass
class Progress:
    """Where a run stands: steps and images done, seconds used of the budget."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0


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
        parameters = list(self.model.parameters())
        self.optimiser = Soap(
            [
                {"params": [p for p in parameters if id(p) not in slow], "scale": 1.0},
                {"params": [p for p in parameters if id(p) in slow], "scale": LINEAR_RATE},
            ],
            lr=plan.rate,
            bf16=plan.bf16,
        )

    def transforms(self) -> contextlib.AbstractContextManager[object]:
        """The precision that g_a and g_s run in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16)

    def start(self, tiles: Tensor) -> None:
        """Initialise a new run from the KLT of the tiles."""
        klt_start(self.model, tiles)
        self.average.load_state_dict(self.model.state_dict())

    def learning_rate(self) -> float:
        """Warm-up by steps, then flat, then a cosine to 2 % by the clock."""
        fall = min(max((self._used() - self.plan.flat) / (1 - self.plan.flat), 0), 1)
        scale = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall))
        return self.plan.rate * scale * min((self.progress.step + 1) / self.plan.warmup, 1)

    def z_weight(self) -> float:
        """What the bits of z count: rises with the square of the time, or z would die before it is of use."""
        return min(self._used() / self.plan.z_warmup, 1.0) ** 2 if self.plan.z_warmup else 1.0

    def _used(self) -> float:
        """Part of the budget that is used up."""
        return self.progress.seconds / (self.plan.minutes * 60)

    def step(self, x: Tensor) -> Tensor:
        """One optimiser step on this process's x (b, 3, h, w); returns its loss, without waiting for it."""
        rates = self._random_rates(x)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate() * group["scale"]
        loss = training_loss(self._forward(self.model, x, rates), rates, self.z_weight())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average(p.grad for p in self.model.parameters() if p.grad is not None)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.progress.step += 1
        self.progress.images += len(x) * self.team.size
        self._update_average()
        return loss.detach()

    def _forward(self, model: ImageModel, x: Tensor, rates: Rates, rounded: bool = False) -> Measures:
        """Code with the plan's precision and distortion."""
        return forward(model, x, rates, self.transforms(), rounded, DISTORTIONS[self.plan.metric])

    def _random_rates(self, x: Tensor) -> Rates:
        rates = Rates.uniform(random_log2_lambda(len(x), self.device))
        if not self.plan.roi_every or self.progress.step % self.plan.roi_every:
            return rates
        size = (x.shape[2] // LATENT_STRIDE, x.shape[3] // LATENT_STRIDE)
        return Rates(rates.base, random_drops(len(x), *size, self.device))

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.plan.average, self.progress.step / (self.progress.step + 10))
        targets: list[Tensor] = list(self.average.parameters())
        sources: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(targets, sources, 1 - decay)

    @torch.no_grad()
    def validate(self, tiles: Tensor) -> list[dict[str, float]]:
        """Averaged weights on uint8 tiles, the central 256x256 or half-size: a row per item of `VALIDATION`."""
        rows = []
        edge = (tiles.shape[-1] - 256) // 2
        whole = tiles.to(self.device).float() / 255
        centre = whole[..., edge : edge + 256, edge : edge + 256]
        half = data.shrunk(whole, tiles.shape[-1] // 2)
        for lmbda, drop, shrunk in VALIDATION:
            results = []
            for x in torch.split(half if shrunk else centre, 16):
                base = torch.full((len(x),), math.log2(lmbda), device=self.device)
                side = x.shape[2] // LATENT_STRIDE
                rates = Rates(base, disc_drops(len(x), side, side, drop, self.device))
                m = self._forward(self.average, x, rates, rounded=True)
                psnr = -10 * torch.log10(m.mse)
                results.append(torch.stack((m.bpp, m.bpp_z, psnr, m.objective)))
            bpp, bpp_z, psnr, objective = torch.cat(results, 1).mean(1).tolist()
            row = {"lmbda": lmbda, "drop": drop, "shrunk": shrunk}
            row |= {"bpp": bpp, "bpp_z": bpp_z, "psnr": psnr, "loss": objective}
            rows.append(row)
        return rows

    def _metadata(self) -> dict[str, str]:
        return {"plan": json.dumps(asdict(self.plan)), "progress": json.dumps(asdict(self.progress))}

    def save(self, path: Path) -> None:
        """Everything needed to resume, as safetensors; replaced in one move."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, p in self.model.named_parameters():
            tensors |= {f"optimiser.{name}.{k}": v for k, v in self.optimiser.state.get(p, {}).items()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        part = path.with_suffix(".part")
        save_file(tensors, part, self._metadata())
        part.replace(path)

    def save_weights(self, path: Path) -> None:
        """Raw and averaged weights in half precision: enough for another run to go on from."""
        parts = (("model.", self.model), ("average.", self.average))
        tensors = {f"{prefix}{k}": v.half().cpu() for prefix, m in parts for k, v in m.state_dict().items()}
        save_file(tensors, path, self._metadata())

    def load(self, path: Path, restart: bool) -> None:
        """Resume from a checkpoint; `restart` keeps weights only and begins a new schedule.

        A model may grow at a restart: whole residuals that the checkpoint does not have stay as they are, at
        zero, and so do shifts; gates stay at one.

        Raises:
            ValueError: the checkpoint has layers that the model has not, or lacks others than these.
        """
        with safe_open(path, "pt") as file:
            tensors = {k: file.get_tensor(k).clone() for k in file.keys()}
            progress = Progress(**json.loads(file.metadata()["progress"]))
        for prefix, module in (("model.", self.model), ("average.", self.average)):
            state = {k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)}
            found = module.load_state_dict(state, strict=not restart)
            if found.unexpected_keys:
                raise ValueError(f"{path} has layers that {self.plan.size} has not: {found.unexpected_keys}")
            if lost := set(found.missing_keys) - _neutral(module, set(state)):
                raise ValueError(f"{path} lacks layers of {self.plan.size}: {sorted(lost)}")
        if restart:
            return
        self.progress = progress
        for name, p in self.model.named_parameters():
            prefix = f"optimiser.{name}."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            self.optimiser.state[p] = {k: v if k == "step" else v.to(p.device) for k, v in state.items()}


def plan_of(checkpoint: Path) -> Plan:
    """The settings of the run that a checkpoint is of."""
    with safe_open(checkpoint, "pt") as file:
        return Plan(**json.loads(file.metadata()["plan"]))


def _neutral(module: nn.Module, present: set[str]) -> set[str]:
    """Parameters that change nothing before they learn: of residual layers of which none is present, and
    what follows the rate.
    """
    found = set[str]()
    for name, child in module.named_modules():
        keys = {f"{name}.{k}" for k in child.state_dict()}
        if isinstance(child, Block | Overlap) and not keys & present:
            found |= keys
        if isinstance(child, Block):
            found |= keys & {f"{name}.gates", f"{name}.shifts"}
    return found


def batches(tiles: Tensor, plan: Plan, seed: int) -> Iterator[Tensor]:
    """Endless random crops on the tiles' device."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        shrinks = float(torch.rand((), generator=generator)) < plan.shrunk
        crops = data.shrunk_crops if shrinks else data.random_crops
        yield crops(tiles, plan.batch, plan.crop, generator)


def train(trainer: Trainer, tiles: Tensor, held: Tensor, out: Path, save_minutes: float) -> None:
    """Run the plan to its end: log, validate and checkpoint every `save_minutes`."""
    plan, progress, team = trainer.plan, trainer.progress, trainer.team
    team.agree([*trainer.model.state_dict().values(), *trainer.average.state_dict().values()])
    seed = plan.seed + progress.step + SEED_STRIDE * team.rank
    torch.manual_seed(seed)
    last_clock = last_save = time.monotonic()
    last_step, losses = progress.step, list[Tensor]()
    for x in batches(tiles, replace(plan, batch=team.share(plan.batch)), seed):
        losses.append(trainer.step(x))
        clock = time.monotonic()
        elapsed = torch.tensor(clock - last_clock, dtype=torch.float64)
        team.average([elapsed])
        progress.seconds += float(elapsed)
        last_clock = clock
        done = progress.seconds >= plan.minutes * 60
        if team.leads and (clock - last_save >= save_minutes * 60 or done):
            speed = (progress.step - last_step) / (clock - last_save)
            trainer.save(out / "checkpoint.safetensors")
            row = asdict(progress) | {
                "steps_per_second": speed,
                "learning_rate": trainer.learning_rate(),
                "train_loss": float(torch.stack(losses).mean()),
                "validation": trainer.validate(held),
            }
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            last_save, last_step, losses = time.monotonic(), progress.step, []
        if done:
            return
