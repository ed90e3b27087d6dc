"""`python -m nccli.train image ...`: train the shipped networks. Needs torch, numpy, Pillow, safetensors."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from nccli.catalogue import find
from nccli.memory import keep_freed_memory
from nccli.model import CONFIGS
from nccli.train import data
from nccli.train.loop import Plan, Trainer, train
from nccli.train.segmain import SEG_EXAMPLE, add_seg_parsers, run_seg

TILE = 384
"""Side of the square tiles that training pictures are cut into, in pixels."""

CARD_FACTS = ("data", "command", "device", "notes")

EXAMPLE = (
    """examples:
  python -m nccli.train image photos/ shards/*.tar --minutes 120 -o runs/s
  python -m nccli.train image photos/ --size m --device cuda --bf16 --batch 64 --crop 256 -o runs/m
  python -m nccli.train export runs/s photos/ --name s -o models/
  python -m nccli.train evaluate kodak/ --model s --anchor mbt2018-mean.json
"""
    + SEG_EXAMPLE
)


def build_parser() -> argparse.ArgumentParser:
    """The command line of the training program."""
    parser = argparse.ArgumentParser(
        prog="python -m nccli.train", epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="action", required=True)
    image = commands.add_parser("image", help="train the image model; resumes RUN if it has a checkpoint")
    image.add_argument("data", nargs="+", type=Path, help="folders, tar shards or images")
    image.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder")
    image.add_argument("--size", choices=sorted(CONFIGS), default=Plan.size)
    image.add_argument("--minutes", type=float, default=Plan.minutes, help="wall-clock budget")
    image.add_argument("--batch", type=int, default=Plan.batch)
    image.add_argument("--crop", type=int, default=Plan.crop, help="multiple of 64")
    image.add_argument("--rate", type=float, default=Plan.rate, help="peak learning rate")
    image.add_argument("--flat", type=float, default=Plan.flat, help="fraction before the cosine fall")
    image.add_argument("--seed", type=int, default=Plan.seed)
    image.add_argument("--bf16", action="store_true", help="transforms in bfloat16")
    image.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    image.add_argument("--threads", type=int, default=0, help="CPU threads, 0 = all")
    image.add_argument("--from", dest="start", type=Path, help="start from this checkpoint's weights")
    image.add_argument("--save-minutes", type=float, default=5.0)
    export = commands.add_parser("export", help="write a run's averaged weights as a model of the catalogue")
    export.add_argument("run", type=Path, metavar="RUN")
    export.add_argument("data", nargs="+", type=Path, help="training pictures, to fit the coder's tables on")
    export.add_argument("-o", "--out", type=Path, default=Path("models"), help="models folder")
    export.add_argument("--name", required=True, help="what --model takes")
    export.add_argument("--about", default="", help="one line for `ncc models`")
    export.add_argument("--retire", default="", metavar="REASON", help="remove older models of the name")
    measure = commands.add_parser("evaluate", help="rate-distortion table of a model, from real files")
    measure.add_argument("pictures", type=Path, help="folder of pictures")
    measure.add_argument("--model", default="s")
    measure.add_argument("--every", type=int, default=1, help="use every n-th picture")
    measure.add_argument(
        "--anchor", type=Path, action="append", default=[], help="JSON with bpp and psnr lists"
    )
    keep = commands.add_parser("keep", help="keep a run's weights, small, for a later run's --from")
    keep.add_argument("run", type=Path, metavar="RUN")
    keep.add_argument("-o", "--out", type=Path, required=True)
    card = commands.add_parser("card", help="measure a model of the catalogue and write its card")
    card.add_argument("run", type=Path, metavar="RUN")
    card.add_argument("pictures", type=Path, help="folder of pictures to measure on")
    card.add_argument("--model", default="s")
    card.add_argument("-o", "--out", type=Path, default=Path("models"), help="models folder")
    card.add_argument("--anchor", type=Path, action="append", default=[], help="JSON with bpp and psnr lists")
    for fact in CARD_FACTS:
        card.add_argument(f"--{fact}", default="", help="a line of the card")
    add_seg_parsers(commands)
    return parser


def run_image(args: argparse.Namespace) -> None:
    """Train, resuming the run folder's checkpoint when there is one."""
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    plan = Plan(
        size=args.size,
        minutes=args.minutes,
        batch=args.batch,
        crop=args.crop,
        rate=args.rate,
        flat=args.flat,
        seed=args.seed,
        bf16=args.bf16,
        z_warmup=0.0 if args.start else Plan.z_warmup,
    )
    device = torch.device(args.device)
    tiles = data.load_tiles(args.data, TILE, workers=max(args.threads, 2))
    tiles, held = data.split(tiles)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "plan.json").write_text(json.dumps(asdict(plan)))
    trainer = Trainer(plan, device)
    checkpoint = args.out / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint, restart=False)
    else:
        trainer.start(tiles)
        if args.start:
            trainer.load(args.start, restart=True)
    print(f"{len(tiles)} tiles, {len(held)} held for validation; step {trainer.progress.step}", flush=True)
    train(trainer, tiles.to(device), held, args.out, args.save_minutes)


def run_keep(args: argparse.Namespace) -> None:
    """Write the weights of a run's checkpoint in half precision."""
    plan = Plan(**json.loads((args.run / "plan.json").read_text()))
    trainer = Trainer(plan, torch.device("cpu"))
    trainer.load(args.run / "checkpoint.safetensors", restart=False)
    trainer.save_weights(args.out)


def main() -> None:
    """Entry point."""
    args = build_parser().parse_args()
    if args.action == "image":
        run_image(args)
    elif args.action == "export":
        from nccli.train.export import publish

        tiles, _ = data.split(data.load_tiles(args.data, TILE, workers=2))
        checkpoint = args.run / "checkpoint.safetensors"
        print(publish(checkpoint, args.out, args.name, args.about, tiles, args.retire))
    elif args.action == "label":
        from nccli.train.label import label

        tiles, _ = data.split(data.load_tiles(args.data, TILE, workers=2))
        label(tiles, args.teacher, args.out, args.count)
    elif args.action == "seg":
        run_seg(args)
    elif args.action == "keep":
        run_keep(args)
    else:
        from nccli.train.evaluate import evaluate

        every = args.every if args.action == "evaluate" else 1
        points, rates = evaluate(args.pictures, args.model, args.anchor, every)
        if args.action == "card":
            from nccli.train.card import write_card

            facts = {fact: getattr(args, fact) for fact in CARD_FACTS} | {"pictures": args.pictures.name}
            print(write_card(args.out, find(args.model), args.run, points, rates, facts))


if __name__ == "__main__":
    main()
