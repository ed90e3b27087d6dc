"""What a mask gains: `python tools/measure_roi.py PICTURES -o docs/results/roi.jsonl`.

Every picture is coded to the same size with and without masks of many kinds; a line of the output says
how good each is inside the mask. What is in the output already is not measured again. The summary goes
between the marks of roi.md with --page, else to the terminal.
"""

from __future__ import annotations

import argparse
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import nccli
from nccli.catalogue.entries import DEFAULT_MODEL, find
from nccli.container.image_file import read_image
from nccli.container.section_ids import SectionId

Bits = NDArray[np.bool_]

BPP = (0.25, 0.5, 1.0)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm"}
COVERAGES = (0.1, 0.2, 0.3, 0.4)
PLACES = ((0.3, 0.2), (0.65, 0.5), (0.4, 0.8))
"""Middles of three discs: the mask alone decides which of them is good."""


def blobs(height: int, width: int, coverage: float, seed: int) -> Bits:
    """Smooth noise above the height that leaves this part of the picture."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.normal(size=(4, 6)).astype(np.float32))
    smooth = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
    return smooth > np.quantile(smooth, 1 - coverage)


def letters(height: int, width: int) -> Bits:
    """A word as high as a good part of the picture."""
    image = Image.new("1", (width, height))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=min(height * 0.6, width * 0.45))
    draw.text((width / 2, height / 2), "ROI", 1, font, anchor="mm", stroke_width=height // 60)
    return np.asarray(image)


def checkers(height: int, width: int) -> Bits:
    """Squares of an eighth of the picture, two of every six."""
    rows, columns = np.mgrid[0:height, 0:width]
    side = max(max(height, width) // 8, 16)
    return (rows // side + columns // side) % 3 == 0


def disc(height: int, width: int, place: tuple[float, float]) -> Bits:
    """A disc of a tenth of the picture."""
    rows, columns = np.mgrid[0:height, 0:width]
    radius = (0.1 * height * width / np.pi) ** 0.5
    return np.hypot(rows - place[0] * height, columns - place[1] * width) < radius


def silhouette(path: Path, height: int, width: int) -> Bits:
    """A mask picture, stretched to the size."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((width, height))) >= 128


def masks(height: int, width: int, number: int, shapes: list[Path]) -> Iterator[tuple[str, Bits]]:
    """Every mask that picture `number` is measured with, by name."""
    for coverage in COVERAGES:
        yield f"blobs {coverage:.0%}", blobs(height, width, coverage, number)
    yield "letters", letters(height, width)
    yield "checkerboard", checkers(height, width)
    for count, place in enumerate(PLACES):
        yield f"disc {count + 1} of 3", disc(height, width, place)
    if shapes:
        yield "silhouette", silhouette(shapes[number % len(shapes)], height, width)


def psnr_in(x: NDArray[np.uint8], data: bytes, mask: Bits) -> float:
    """PSNR over the pixels of a mask, in dB."""
    difference = x[mask].astype(np.float64) - nccli.decode_array(data)[mask]
    return float(10 * np.log10(255**2 / max(float(np.square(difference).mean()), 1e-9)))


def measure(x: NDArray[np.uint8], plain: bytes, mask: Bits, model: str) -> dict[str, float]:
    """Inside and outside, with and without the mask, at the size of `plain`."""
    coded = nccli.encode(x, size=len(plain), roi=mask, model=model).data
    section = read_image(coded).find(SectionId.ROI)
    return {
        "coverage": float(mask.mean()),
        "plain_bytes": len(plain),
        "bytes": len(coded),
        "mask_bytes": len(section or b""),
        "plain_inside": psnr_in(x, plain, mask),
        "inside": psnr_in(x, coded, mask),
        "plain_outside": psnr_in(x, plain, ~mask),
        "outside": psnr_in(x, coded, ~mask),
    }


def run(pictures: list[Path], shapes: list[Path], out: Path, model: str) -> list[dict[str, object]]:
    """Measure what is not in `out` yet; returns all of its lines that these weights made."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    tag = find(model).tag.hex()
    done = {(row["picture"], row["mask"], row["bpp"]) for row in lines if row["weights"] == tag}
    with out.open("a") as file:
        for number, path in enumerate(pictures):
            with Image.open(path) as image:
                x = np.asarray(image.convert("RGB"))
            todo = list(masks(*x.shape[:2], number, shapes))
            for bpp in BPP:
                left = [item for item in todo if (path.name, item[0], bpp) not in done]
                if not left:
                    continue
                plain = nccli.encode(x, bpp=bpp, model=model).data
                for name, mask in left:
                    row: dict[str, object] = {"picture": path.name, "mask": name, "bpp": bpp, "weights": tag}
                    row |= measure(x, plain, mask, model)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    lines.append(row)
    return [row for row in lines if row["weights"] == tag]


def summary(rows: list[dict[str, object]]) -> str:
    """A table: one line per kind of mask and rate."""
    groups: dict[tuple[str, float], list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        groups[str(row["mask"]), float(str(row["bpp"]))].append(row)  # type: ignore[arg-type]
    out = io.StringIO()
    out.write("| mask | covers | bpp | pictures | inside, without | inside, with | gain | least gain ")
    out.write("| outside | mask bytes |\n|---|---|---|---|---|---|---|---|---|---|\n")
    for (name, bpp), found in sorted(groups.items()):
        gains = [row["inside"] - row["plain_inside"] for row in found]

        def average(key: str, found: list[dict[str, float]] = found) -> float:
            return mean(row[key] for row in found)

        out.write(
            f"| {name} | {average('coverage'):.0%} | {bpp:g} | {len(found)} | {average('plain_inside'):.2f} dB "
            f"| {average('inside'):.2f} dB | {mean(gains):+.2f} dB | {min(gains):+.2f} dB "
            f"| {average('outside') - average('plain_outside'):+.2f} dB | {average('mask_bytes'):.0f} |\n"
        )
    return out.getvalue().rstrip()


def main() -> None:
    """Measure, then show or write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON lines; continued if there")
    parser.add_argument("--silhouettes", type=Path, action="append", default=[], help="folder of masks")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--every", type=int, default=1, help="use every n-th picture")
    parser.add_argument("--page", type=Path, help="page to put the table in, between its marks `measured`")
    args = parser.parse_args()
    pictures = sorted(p for p in args.pictures.iterdir() if p.suffix.lower() in SUFFIXES)[:: args.every]
    shapes = [p for folder in args.silhouettes for p in sorted(folder.iterdir()) if p.suffix == ".png"]
    text = summary(run(pictures, shapes, args.out, args.model))
    if args.page is None:
        print(text)
    else:
        from make_guide import fill

        fill(args.page, "measured", text)


if __name__ == "__main__":
    main()
