"""Make the pictures and figures of guide.md and lambda.md: `python tools/make_guide.py`.

Writes docs/images/guide-*.png and the tables between the marks of the two pages.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import nccli
from nccli.entropy.rate import LAMBDA_MIN
from nccli.media.metrics import psnr
from nccli.media.picture import Pixels

DOCS = Path(__file__).resolve().parent.parent / "docs"
SOURCE = DOCS / "images" / "chelsea.png"
SHOWN = (LAMBDA_MIN, 0.002, 0.008, 0.03)
CLOSE_BPP, CLOSE_SIDE = 0.15, 320
"""What low rates do is shown on pieces of whole pictures, that many pixels a side."""

CLOSE = {"astronaut": (20, 110), "coffee": (60, 150), "rocket": (40, 200)}
"""Photographs of scikit-image, and the top left corner of the piece."""

MODELS = ("s", "s-msssim")

TABLED = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15)


def jpeg_bytes(pixels: Pixels, wanted: float) -> int | None:
    """Size of the smallest JPEG (4:4:4, optimised) of at least `wanted` dB."""
    for quality in range(1, 101):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
        if psnr(pixels, np.asarray(Image.open(out))) >= wanted:
            return len(out.getvalue())
    return None


def show(pixels: Pixels) -> str:
    """Write the pictures; return the table that shows them."""
    rows = ["| lambda | bytes | bpp | PSNR | JPEG of that PSNR | |", "|---|---|---|---|---|---|"]
    for lmbda in SHOWN:
        encoded = nccli.encode(pixels, lmbda=lmbda, measure=True)
        report, name = encoded.report, f"guide-{lmbda:g}.png"
        nccli.decode(encoded.data).save(DOCS / "images" / name, optimize=True)
        other = jpeg_bytes(pixels, report.psnr or 0)
        rows.append(
            f"| {lmbda:g} | {report.bytes:,} | {report.bpp:.3f} | {report.psnr:.1f} dB "
            f"| {'-' if other is None else f'{other:,}'} bytes | ![lambda {lmbda:g}](images/{name}) |"
        )
    return "\n".join(rows)


def piece(pixels: Pixels, place: tuple[int, int]) -> Pixels:
    """A square of a picture, by its top left corner."""
    top, left = place
    return pixels[top : top + CLOSE_SIDE, left : left + CLOSE_SIDE]


def close() -> str:
    """Write pieces of pictures at a low rate beside their originals; return the table that shows them."""
    rows = ["| picture | bytes | bpp | PSNR | original, decoded |", "|---|---|---|---|---|"]
    for picture, place in CLOSE.items():
        pixels = np.ascontiguousarray(getattr(data, picture)())
        encoded = nccli.encode(pixels, bpp=CLOSE_BPP, measure=True)
        both = (pixels, np.asarray(nccli.decode(encoded.data)))
        name, report = f"guide-{picture}.png", encoded.report
        Image.fromarray(np.hstack([piece(x, place) for x in both])).save(
            DOCS / "images" / name, optimize=True
        )
        figures = f"{report.bytes:,} | {report.bpp:.3f} | {report.psnr:.1f} dB"
        rows.append(f"| {picture} | {figures} | ![{picture}](images/{name}) |")
    return "\n".join(rows)


def structure() -> str:
    """Write pieces of pictures as two models code them at one rate; return the table that shows them."""
    titles = " | ".join(f"`{model}`: PSNR, MS-SSIM" for model in MODELS)
    rows = [f"| picture | {titles} | original, {', '.join(MODELS)} |", "|---|---|---|---|"]
    for picture, place in CLOSE.items():
        pixels = np.ascontiguousarray(getattr(data, picture)())
        shown, figures = [piece(pixels, place)], []
        for model in MODELS:
            encoded = nccli.encode(pixels, bpp=CLOSE_BPP, model=model, measure=True)
            shown.append(piece(np.asarray(nccli.decode(encoded.data)), place))
            figures.append(f"{encoded.report.psnr:.1f} dB, {encoded.report.ms_ssim:.4f}")
        name = f"guide-{picture}-structure.png"
        Image.fromarray(np.hstack(shown)).save(DOCS / "images" / name, optimize=True)
        rows.append(f"| {picture} | {' | '.join(figures)} | ![{picture}](images/{name}) |")
    return "\n".join(rows)


def table(pixels: Pixels) -> str:
    """Rates and qualities along the axis."""
    rows = ["| lambda | bytes | bpp | PSNR | MS-SSIM |", "|---|---|---|---|---|"]
    for lmbda in TABLED:
        report = nccli.encode(pixels, lmbda=lmbda, measure=True).report
        ms_ssim = "-" if report.ms_ssim is None else f"{report.ms_ssim:.4f}"
        rows.append(f"| {lmbda:g} | {report.bytes:,} | {report.bpp:.3f} | {report.psnr:.2f} dB | {ms_ssim} |")
    return "\n".join(rows)


def fill(page: Path, mark: str, text: str) -> None:
    """Put `text` between the two comments called `mark`."""
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    page.write_text(pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page.read_text()))


def main() -> None:
    """Make everything."""
    pixels = np.asarray(Image.open(SOURCE).convert("RGB"))
    fill(DOCS / "guide.md", "pictures", show(pixels))
    fill(DOCS / "guide.md", "close", close())
    fill(DOCS / "guide.md", "structure", structure())
    fill(DOCS / "lambda.md", "table", table(pixels))


if __name__ == "__main__":
    main()
