"""The commands `label` and `seg` of the training program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nccli.train.foreground.seg import SegPlan, best_threshold, publish_seg, train_seg, write_seg_card
from nccli.train.foreground.segdata import load_pool

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SEG_EXAMPLE = """\
  python -m nccli.train label shards/*.tar --teacher isnet.onnx,mean=0.5 --count 500 -o labels
  python -m nccli.train seg labels --clips CLIP... --held CLIP... --minutes 50 -o runs/seg --publish models
"""

SEG_FACTS = ("data", "command", "device", "notes")


def add_seg_parsers(commands: Commands) -> None:
    """Add both commands."""
    label = commands.add_parser("label", help="masks of tiles by a teacher; resumes FOLDER")
    label.add_argument("data", nargs="+", type=Path, help="folders, tar shards or images")
    label.add_argument("--teacher", required=True, help="network as --roi-model onnx: takes it")
    label.add_argument("--count", type=int, default=500, help="tiles, the most plausible ones")
    label.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    seg = commands.add_parser("seg", help="train the network of foregrounds; resumes RUN")
    seg.add_argument("labels", type=Path, help="folder that `label` has filled")
    seg.add_argument("--clips", nargs="*", type=Path, default=[], help="clips with true masks to train on")
    seg.add_argument("--held", nargs="*", type=Path, default=[], help="clips to measure on")
    seg.add_argument("-o", "--out", type=Path, required=True, metavar="RUN")
    seg.add_argument("--minutes", type=float, default=SegPlan.minutes, help="wall-clock budget")
    seg.add_argument("--batch", type=int, default=SegPlan.batch)
    seg.add_argument("--side", type=int, default=SegPlan.side, help="of a crop, a multiple of 32")
    seg.add_argument("--rate", type=float, default=SegPlan.rate, help="peak learning rate")
    seg.add_argument("--encoder-rate", type=float, default=SegPlan.encoder_rate, help="relative to --rate")
    seg.add_argument("--frozen", type=int, default=SegPlan.frozen, help="blocks of the encoder that rest")
    seg.add_argument("--seed", type=int, default=SegPlan.seed)
    seg.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all")
    seg.add_argument("--publish", type=Path, metavar="MODELS", help="models folder to put the result in")
    for fact in SEG_FACTS:
        seg.add_argument(f"--{fact}", default="", help="a line of the card")


def run_seg(args: argparse.Namespace) -> None:
    """Train, and publish with a card when asked to."""
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    fields = ("minutes", "batch", "side", "rate", "encoder_rate", "frozen", "seed")
    plan = SegPlan(**{field: getattr(args, field) for field in fields})
    trainer = train_seg(plan, args.labels, args.clips, args.held, args.out)
    if args.publish:
        network = trainer.average.eval()
        threshold = best_threshold(network, load_pool(args.labels, args.clips))
        path = publish_seg(network, threshold, args.publish)
        facts = {fact: getattr(args, fact) for fact in SEG_FACTS}
        print(write_seg_card(path, trainer, args.labels, args.clips, args.held, facts))
