"""`python -m nccli.train image ...`: train the shipped networks. Needs torch, numpy, Pillow, safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from nccli.catalogue.entries import find
from nccli.train.image.course import plan_of
from nccli.train.image.loop import Trainer
from nccli.train.imagemain import add_image_parser, run_image, run_profile
from nccli.train.pictures import data
from nccli.train.segmain import SEG_EXAMPLE, add_seg_parsers, run_seg

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
    add_image_parser(commands)
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


def run_keep(args: argparse.Namespace) -> None:
    """Write the weights of a run's checkpoint in half precision."""
    checkpoint = args.run / "checkpoint.safetensors"
    trainer = Trainer(plan_of(checkpoint), torch.device("cpu"))
    trainer.load(checkpoint)
    trainer.save_weights(args.out)


def main() -> None:
    """Entry point."""
    args = build_parser().parse_args()
    if args.action == "image":
        run_image(args)
    elif args.action == "profile":
        run_profile(args)
    elif args.action == "export":
        from nccli.train.publish.export import publish

        tiles, _ = data.split(data.load_tiles(args.data, data.TILE, workers=2))
        checkpoint = args.run / "checkpoint.safetensors"
        print(publish(checkpoint, args.out, args.name, args.about, tiles.pixels, args.retire))
    elif args.action == "label":
        from nccli.train.foreground.label import label

        tiles, _ = data.split(data.load_tiles(args.data, data.TILE, workers=2))
        label(tiles.pixels, args.teacher, args.out, args.count)
    elif args.action == "seg":
        run_seg(args)
    elif args.action == "keep":
        run_keep(args)
    else:
        from nccli.train.publish.evaluate import evaluate

        every = args.every if args.action == "evaluate" else 1
        measured = evaluate(args.pictures, args.model, args.anchor, every)
        if args.action == "card":
            from nccli.train.publish.card import write_card

            facts = {fact: getattr(args, fact) for fact in CARD_FACTS} | {"pictures": args.pictures.name}
            print(write_card(args.out, find(args.model), args.run, measured, facts))


if __name__ == "__main__":
    main()
