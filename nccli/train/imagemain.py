"""`python -m nccli.train image`: options, and a run from them."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nccli.media.metrics import MS_SSIM_MIN_SIDE
from nccli.networks.allocator import keep_freed_memory
from nccli.networks.image_model import CONFIGS
from nccli.networks.layers import Depthwise
from nccli.train.image.course import Plan
from nccli.train.image.distortion import DISTORTIONS
from nccli.train.image.loop import Trainer, train
from nccli.train.image.profile import profile
from nccli.train.optimise.team import Team, run_together
from nccli.train.pictures import data
from nccli.train.pictures.incoming import Incoming

if TYPE_CHECKING:
    from nccli.train.segmain import Commands


def add_image_parser(commands: Commands) -> None:
    """Add `image` to the training program."""
    image = commands.add_parser("image", help="train the image model; resumes RUN if it has a checkpoint")
    image.add_argument("data", nargs="+", type=Path, help="folders, tar shards or images")
    image.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder")
    _add_plan(image)
    image.add_argument("--processes", type=int, default=1, help="that share every batch and the threads")
    image.add_argument("--from", dest="start", type=Path, help="start from this checkpoint's weights")
    image.add_argument("--save-minutes", type=float, default=5.0)
    image.add_argument("--filters", choices=Depthwise.WAYS, default="filter", help="way of depthwise filters")
    profile = commands.add_parser("profile", help="where the time of a training step goes, in some 20 s")
    _add_plan(profile)
    profile.add_argument("--filters", choices=Depthwise.WAYS, nargs="+", default=Depthwise.WAYS)


def _add_plan(image: argparse.ArgumentParser) -> None:
    """Options of a plan and of the device that it runs on."""
    image.add_argument("--size", choices=sorted(CONFIGS), default=Plan.size)
    image.add_argument("--minutes", type=float, default=Plan.minutes, help="wall-clock budget")
    image.add_argument("--batch", type=int, default=Plan.batch)
    image.add_argument("--crop", type=int, default=Plan.crop, help="multiple of 64")
    image.add_argument("--rate", type=float, default=Plan.rate, help="peak learning rate")
    image.add_argument("--flat", type=float, default=Plan.flat, help="fraction before the cosine fall")
    image.add_argument("--shrunk", type=float, default=Plan.shrunk, help="share of batches of reduced tiles")
    image.add_argument("--screens", type=float, default=Plan.screens, help="share of crops of screens")
    image.add_argument("--every", type=int, default=Plan.every, help="steps between turns of SOAP's bases")
    image.add_argument("--longest", type=int, default=Plan.longest, help="side of its largest covariance")
    image.add_argument("--fuse", action="store_true", help="compile the residual blocks")
    image.add_argument("--details", action="store_true", help="only the scales of details learn")
    image.add_argument(
        "--metric", choices=sorted(DISTORTIONS), default=Plan.metric, help="distortion to train for"
    )
    image.add_argument("--seed", type=int, default=Plan.seed)
    image.add_argument("--bf16", action="store_true", help="transforms in bfloat16")
    image.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    image.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all")


def run_image(args: argparse.Namespace) -> None:
    """Train, resuming the run folder's checkpoint when there is one."""
    if args.metric == "ms-ssim" and args.crop < MS_SSIM_MIN_SIDE:
        raise SystemExit(f"--metric ms-ssim needs a --crop of at least {MS_SSIM_MIN_SIDE} pixels")
    run_together(partial(_train, args), args.processes)


def _train(args: argparse.Namespace, team: Team) -> None:
    keep_freed_memory()
    threads = (args.threads or torch.get_num_threads()) // team.size
    torch.set_num_threads(max(threads, 1))
    plan = plan_from(args)
    device = torch.device(args.device)
    workers = max(args.threads, os.cpu_count() or 2, 2)
    tiles, held = data.split(data.load_tiles(args.data, data.TILE, workers=workers))
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan, device, team)
    checkpoint = args.out / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
    elif args.start:
        trainer.begin_from(args.start, tiles)
    else:
        trainer.start(tiles)
    quicken(device)
    trainer.filter_by(args.filters)
    if args.fuse:
        trainer.fuse()
    if team.leads:
        print(
            f"{len(tiles)} tiles, {len(held)} held for validation; step {trainer.progress.step}", flush=True
        )
    incoming = Incoming(args.data, workers) if team.size == 1 else None
    train(trainer, tiles.to(device), held, args.out, args.save_minutes, incoming)


def run_profile(args: argparse.Namespace) -> None:
    """Measure a step of the plan that options describe."""
    keep_freed_memory()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    device = torch.device(args.device)
    quicken(device)
    profile(plan_from(args), device, list(args.filters), args.fuse)


def plan_from(args: argparse.Namespace) -> Plan:
    """The plan that options make; each option of a plan has the name of its field."""
    values = {field.name: getattr(args, field.name) for field in fields(Plan) if hasattr(args, field.name)}
    return replace(Plan(**values), z_warmup=0.0 if getattr(args, "start", None) else Plan.z_warmup)


def quicken(device: torch.device) -> None:
    """Let an accelerator's libraries try their filters, and multiply float32 with ten bits of mantissa."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
