"""Make the pictures and tables of roi.md: `python tools/make_roi.py`.

Writes docs/images/roi-*.png and what stands between the marks of the page. Needs scikit-image.
"""

from __future__ import annotations

import io

import numpy as np
from make_guide import DOCS, SOURCE, fill
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import nccli
from nccli.container.image_file import read_image
from nccli.masks.make import make_mask
from nccli.masks.mask import mask_of_boxes
from nccli.media.picture import Picture
from nccli.program.maps import draw_bits
from nccli.program.perform_masks import png_of

PAGE, IMAGES = DOCS / "roi.md", DOCS / "images"
SIZE = 4200
SHOWN = (270, 200)
FACES = {"left eye": "130,80,70,50", "right eye": "225,70,65,60", "nose": "170,130,70,60"}
"""Boxes in the bundled picture: three runs that differ in nothing else."""

Image8 = NDArray[np.uint8]


def keep(name: str, pixels: Image8) -> str:
    """Write a picture; how a page shows it."""
    Image.fromarray(pixels).save(IMAGES / f"roi-{name}.png", optimize=True)
    return f"![{name}](images/roi-{name}.png)"


def shown(png: bytes) -> Image8:
    """A PNG as an array."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def at_work(pixels: Image8) -> str:
    """The same size without a mask, with one, and where the bits went."""
    box = FACES["left eye"]
    mask = mask_of_boxes(box, *pixels.shape[:2])
    plain = nccli.encode(pixels, size=SIZE)
    coded = nccli.encode(pixels, size=SIZE, roi=mask, measure=True)
    bits = shown(draw_bits(read_image(coded.data)).png)
    pictures = (shown(png_of(mask)), nccli.decode_array(plain.data), nccli.decode_array(coded.data), bits)
    names = ("mask", "without", "with", "bits")
    cells = [keep(name, np.asarray(picture, np.uint8)) for name, picture in zip(names, pictures, strict=True)]
    return f"| mask | without | with it | where the bits went |\n|---|---|---|---|\n| {' | '.join(cells)} |"


def three(pixels: Image8) -> str:
    """PSNR within each of three boxes, without a mask and with each box as the mask."""
    runs: dict[str, str | None] = {"none": None, **FACES}
    rows = [f"| mask | bytes | {' | '.join(FACES)} |", f"|---|---|{'---|' * len(FACES)}"]
    for name, box in runs.items():
        coded = nccli.encode(pixels, size=SIZE, roi=box).data
        x_hat = nccli.decode_array(coded)
        cells = []
        for place in FACES.values():
            inside = mask_of_boxes(place, *pixels.shape[:2]) > 0
            error = np.square(pixels[inside].astype(np.float64) - x_hat[inside]).mean()
            text = f"{10 * np.log10(255**2 / error):.2f} dB"
            cells.append(f"**{text}**" if place == box else text)
        rows.append(f"| {name} | {len(coded):,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def found(pixels: Image8) -> str:
    """Pictures, and what the shipped models make of them, in one strip each."""
    strips = []
    for picture in (pixels, data.astronaut(), data.coffee()):
        masks = [make_mask(name, Picture(picture)) for name in ("seg", "saliency")]
        parts = [Image.fromarray(part).convert("RGB").resize(SHOWN) for part in (picture, *masks)]
        strips.append(np.concatenate([np.asarray(part) for part in parts], 1))
    return f"Picture, `seg`, `saliency`:\n\n{keep('models', np.concatenate(strips))}"


def main() -> None:
    """Make everything."""
    pixels = np.asarray(Image.open(SOURCE).convert("RGB"))
    fill(PAGE, "pictures", at_work(pixels))
    fill(PAGE, "three", three(pixels))
    fill(PAGE, "models", found(pixels))


if __name__ == "__main__":
    main()
