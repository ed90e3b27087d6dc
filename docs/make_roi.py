"""Make the pictures and tables of roi.md: `python docs/make_roi.py`.

Writes docs/images/roi-*.png and what stands between the marks of the page. With --clips FOLDER, a folder
of clips with true masks, also what `seg` finds in them.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from make_guide import DOCS, SOURCE, fill
from numpy.typing import NDArray
from PIL import Image

import nccli
from nccli.container import read_container
from nccli.picture import Picture
from nccli.roi.job import png_of
from nccli.roi.maps import draw_bits
from nccli.roi.mask import mask_of_boxes
from nccli.roi.models import make_mask

PAGE, IMAGES = DOCS / "roi.md", DOCS / "images"
SIZE = 4200
FACES = {"left eye": "130,80,70,50", "right eye": "225,70,65,60", "nose": "170,130,70,60"}
"""Boxes in the bundled picture: three runs that differ in nothing else."""

Image8 = NDArray[np.uint8]


def keep(name: str, pixels: Image8) -> str:
    """Write a picture; how a page shows it."""
    Image.fromarray(pixels).save(IMAGES / f"roi-{name}.png", optimize=True)
    return f"![{name}](images/roi-{name}.png)"


def shown(data: bytes) -> Image8:
    """A PNG as an array."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def at_work(pixels: Image8) -> str:
    """The same size without a mask, with one, and where the bits went."""
    box = FACES["left eye"]
    mask = mask_of_boxes(box, *pixels.shape[:2])
    plain = nccli.encode(pixels, size=SIZE)
    coded = nccli.encode(pixels, size=SIZE, roi=mask, measure=True)
    bits = shown(draw_bits(read_container(coded.data)).png)
    pictures = (shown(png_of(mask)), nccli.decode_array(plain.data), nccli.decode_array(coded.data), bits)
    names = ("mask", "without", "with", "bits")
    cells = [keep(name, np.asarray(picture, np.uint8)) for name, picture in zip(names, pictures, strict=True)]
    return f"| mask | without | with it | where the bits went |\n|---|---|---|---|\n| {' | '.join(cells)} |"


def three(pixels: Image8) -> str:
    """PSNR within each of three boxes, without a mask and with each box as the mask."""
    runs: dict[str, str | None] = {"none": None, **FACES}
    rows = [f"| mask | bytes | {' | '.join(FACES)} |", f"|---|---|{'---|' * len(FACES)}"]
    for name, box in runs.items():
        data = nccli.encode(pixels, size=SIZE, roi=box).data
        x_hat = nccli.decode_array(data)
        cells = []
        for place in FACES.values():
            inside = mask_of_boxes(place, *pixels.shape[:2]) > 0
            error = np.square(pixels[inside].astype(np.float64) - x_hat[inside]).mean()
            text = f"{10 * np.log10(255**2 / error):.2f} dB"
            cells.append(f"**{text}**" if place == box else text)
        rows.append(f"| {name} | {len(data):,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def found(pixels: Image8) -> str:
    """What the shipped models make of the bundled picture."""
    cells = [keep(name, make_mask(name, Picture(pixels))) for name in ("seg", "saliency")]
    return f"| `seg` | `saliency` |\n|---|---|\n| {' | '.join(cells)} |"


def clips(folder: Path) -> str:
    """A frame of every clip, its true mask and that of `seg`, side by side in one picture."""
    strips = []
    for clip in sorted(folder.iterdir()):
        frames = [p for p in sorted(clip.iterdir()) if (clip / "masks" / f"{p.stem}.png").is_file()]
        if frames:
            path = frames[len(frames) // 2]
            frame = np.asarray(Image.open(path).convert("RGB"))
            true = Image.open(clip / "masks" / f"{path.stem}.png").convert("RGB")
            mask = Image.fromarray(make_mask("seg", Picture(frame))).convert("RGB")
            parts = [Image.fromarray(frame), true, mask]
            strips.append(np.concatenate([np.asarray(part.resize((288, 162))) for part in parts], 1))
    return f"Frame, true mask, mask of `seg`:\n\n{keep('clips', np.concatenate(strips))}"


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, help="folder of clips with true masks")
    args = parser.parse_args()
    pixels = np.asarray(Image.open(SOURCE).convert("RGB"))
    fill(PAGE, "pictures", at_work(pixels))
    fill(PAGE, "three", three(pixels))
    fill(PAGE, "models", found(pixels))
    if args.clips:
        fill(PAGE, "clips", clips(args.clips))


if __name__ == "__main__":
    main()
