"""`python -m nccli.train image`: options, and a run from them."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nccli.media.metrics import MS_SSIM_MIN_SIDE
from nccli.networks.allocator import keep_freed_memory
from nccli.networks.image_model import CONFIGS
from nccli.train import data
from nccli.train.distortion import DISTORTIONS
from nccli.train.loop import Plan, Trainer, train
from nccli.train.team import Team, run_together

if TYPE_CHECKING:
    from nccli.train.segmain import Commands


def add_image_parser(commands: Commands) -> None:
    """Add `image` to the training program."""
    image = commands.add_parser("image", help="train the image model; resumes RUN if it has a checkpoint")
    image.add_argument("data", nargs="+", type=Path, help="folders, tar shards or images")
    image.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder")
    image.add_argument("--size", choices=sorted(CONFIGS), default=Plan.size)
    image.add_argument("--minutes", type=float, default=Plan.minutes, help="wall-clock budget")
    image.add_argument("--batch", type=int, default=Plan.batch)
    image.add_argument("--crop", type=int, default=Plan.crop, help="multiple of 64")
    image.add_argument("--rate", type=float, default=Plan.rate, help="peak learning rate")
    image.add_argument("--flat", type=float, default=Plan.flat, help="fraction before the cosine fall")
    image.add_argument("--shrunk", type=float, default=Plan.shrunk, help="share of batches of reduced tiles")
    image.add_argument(
        "--metric", choices=sorted(DISTORTIONS), default=Plan.metric, help="distortion to train for"
    )
    image.add_argument("--seed", type=int, default=Plan.seed)
    image.add_argument("--bf16", action="store_true", help="transforms in bfloat16")
    image.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    image.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all")
    image.add_argument("--processes", type=int, default=1, help="that share every batch and the threads")
    image.add_argument("--from", dest="start", type=Path, help="start from this checkpoint's weights")
    image.add_argument("--save-minutes", type=float, default=5.0)


def run_image(args: argparse.Namespace) -> None:
    """Train, resuming the run folder's checkpoint when there is one."""
    if args.metric == "ms-ssim" and args.crop < MS_SSIM_MIN_SIDE:
        raise SystemExit(f"--metric ms-ssim needs a --crop of at least {MS_SSIM_MIN_SIDE} pixels")
    run_together(partial(_train, args), args.processes)


def _train(args: argparse.Namespace, team: Team) -> None:
    keep_freed_memory()
    threads = (args.threads or torch.get_num_threads()) // team.size
    torch.set_num_threads(max(threads, 1))
    plan = Plan(
        size=args.size,
        minutes=args.minutes,
        batch=args.batch,
        crop=args.crop,
        rate=args.rate,
        flat=args.flat,
        shrunk=args.shrunk,
        metric=args.metric,
        seed=args.seed,
        bf16=args.bf16,
        z_warmup=0.0 if args.start else Plan.z_warmup,
    )
    device = torch.device(args.device)
    tiles = data.load_tiles(args.data, data.TILE, workers=max(args.threads, 2))
    tiles, held = data.split(tiles)
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan, device, team)
    checkpoint = args.out / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint, restart=False)
    else:
        trainer.start(tiles)
        if args.start:
            trainer.load(args.start, restart=True)
    if team.leads:
        print(
            f"{len(tiles)} tiles, {len(held)} held for validation; step {trainer.progress.step}", flush=True
        )
    train(trainer, tiles.to(device), held, args.out, args.save_minutes)
