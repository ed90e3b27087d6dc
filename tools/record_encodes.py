"""Records what about fifty encodes come to, byte for byte, and compares with an earlier recording.

    python tools/record_encodes.py write before.json      # before a change that must change no file
    python tools/record_encodes.py compare before.json    # after it; exit code 1 if anything differs

Floats of the transforms differ between machines, so a recording holds for the machine it was made on,
and is kept out of the repository. Uses the public interface and the command line alone; the networks
of the zoo, with random weights, are made by the tests' helper when a recording is written and kept
beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import nccli
from nccli.cli import cli
from nccli.program.inputs import limit_threads

ROOT = Path(__file__).resolve().parent.parent

Array = NDArray[Any]
Case = tuple[str, Callable[[], bytes]]

BOXES = "20,10,60,50"
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Pictures:
    """What is encoded, all of it small.

    Attributes:
        photo: (96, 128, 3).
        odd: (75, 101, 3), sides that are multiples of nothing.
        large: (176, 200, 3), large enough for MS-SSIM.
        page: (80, 112, 3), sharp edges.
        alpha: (96, 128), soft shades.
        mask: (96, 128), 0 and 255 in a disc.
    """

    photo: Array
    odd: Array
    large: Array
    page: Array
    alpha: Array
    mask: Array

    @property
    def gray(self) -> Array:
        return self.odd[..., 1]

    @property
    def deep(self) -> Array:
        """Sixteen bits, the lower eight of them noise."""
        noise = np.random.default_rng(5).integers(0, 256, self.odd.shape)
        return (self.odd.astype(np.uint16) << 8) + noise.astype(np.uint16)


def make_pictures() -> Pictures:
    """Crops of scikit-image's pictures, and shapes."""
    rows, columns = np.mgrid[:96, :128]
    distance = np.hypot(rows - 40, columns - 60)
    page = data.page()[60:140, 100:212]
    return Pictures(
        photo=np.ascontiguousarray(data.astronaut()[40:136, 160:288]),
        odd=np.ascontiguousarray(data.chelsea()[90:165, 120:221]),
        large=np.ascontiguousarray(data.coffee()[100:276, 200:400]),
        page=np.repeat(page[..., None], 3, 2),
        alpha=np.clip(300 - 5 * distance, 0, 255).astype(np.uint8),
        mask=np.where(distance < 30, 255, 0).astype(np.uint8),
    )


def run(*args: str) -> None:
    """The command line in this process."""
    result = CliRunner().invoke(cli, args, catch_exceptions=False)
    if result.exit_code:
        raise SystemExit(f"ncc {' '.join(args)}: exit code {result.exit_code}\n{result.output}")


def command(*args: str) -> Callable[[], bytes]:
    """An encode by the command line to out.ncc."""

    def call() -> bytes:
        run(*args, "-o", "out.ncc", "--threads", "1", "--force")
        return Path("out.ncc").read_bytes()

    return call


def encode(image: Any, **options: Any) -> Callable[[], bytes]:
    """An encode by the Python interface."""
    return lambda: nccli.encode(image, device="cpu", **options).data


def rates(p: Pictures) -> Iterator[Case]:
    """What decides the rate, and both networks."""
    for lmbda in (0.0005, 0.01, 0.15):
        yield f"lambda-{lmbda}", encode(p.photo, lmbda=lmbda)
    for quality in (0, 35, 100):
        yield f"quality-{quality}", encode(p.odd, quality=quality)
    yield "default", encode(p.page)
    yield "bpp", encode(p.photo, bpp=0.5)
    yield "size", encode(p.photo, size=900)
    yield "size-tiny", encode(p.photo, size=150)
    yield "psnr-28", encode(p.photo, psnr=28)
    yield "psnr-40", encode(p.photo, psnr=40)
    yield "msssim", encode(p.photo, lmbda=0.01, model="s-msssim")
    yield "msssim-size", encode(p.odd, size=1200, model="s-msssim")
    yield "msssim-psnr", encode(p.odd, psnr=30, model="s-msssim")
    yield "one-pixel", encode(p.photo[:1, :1], lmbda=0.01)


def samples(p: Pictures) -> Iterator[Case]:
    """Kinds of samples, alpha and metadata."""
    rgba = np.dstack((p.photo, p.alpha))
    yield "gray", encode(p.gray, lmbda=0.01)
    yield "gray-alpha", encode(np.dstack((p.photo[..., 0], p.alpha)), lmbda=0.005)
    yield "alpha", encode(rgba, lmbda=0.01)
    yield "alpha-size", encode(rgba, size=4000)
    yield "deep", encode(p.deep, lmbda=0.02)
    yield "deep-psnr", encode(p.deep, psnr=36)
    yield "deep-gray", encode(p.deep[..., 0], lmbda=0.01)
    yield "floats", encode(p.odd / 255.0, depth=16, lmbda=0.01)
    yield "png-metadata", command("encode", "tags.png", "--lambda", "0.01")
    yield "png-strip", command("encode", "tags.png", "--lambda", "0.01", "--strip")
    yield "png-no-alpha", command("encode", "alpha.png", "--quality", "40", "--no-alpha")
    yield "png-deep", command("encode", "deep.png", "--bpp", "1")
    yield "jpeg-turned", command("encode", "turned.jpg", "--lambda", "0.01")


def regions(p: Pictures) -> Iterator[Case]:
    """Regions of interest."""
    soft = np.where(p.mask > 0, 255, p.alpha // 3).astype(np.uint8)
    yield "roi-box", encode(p.photo, lmbda=0.01, roi=BOXES)
    yield "roi-mask", encode(p.photo, lmbda=0.02, roi=p.mask)
    yield "roi-shades", encode(p.photo, lmbda=0.02, roi=soft, roi_gain=100)
    yield "roi-feather-0", encode(p.photo, lmbda=0.01, roi=p.mask, roi_feather=0)
    yield "roi-background", encode(p.photo, psnr=36, roi=p.mask, roi_background=26)
    yield "roi-size", encode(p.photo, size=1000, roi=BOXES, roi_gain=10)
    yield "roi-psnr", encode(p.photo, psnr=34, roi=BOXES)
    yield "roi-resize", encode(p.large, lmbda=0.01, roi=p.mask, roi_resize=True)
    yield "roi-saliency", encode(p.large, lmbda=0.01, roi_model="saliency")
    yield "roi-seg", encode(p.large, lmbda=0.01, roi_model="seg")
    yield "roi-msssim", encode(p.large, lmbda=0.01, roi=BOXES, model="s-msssim", measure=True)
    yield "roi-alpha", encode(np.dstack((p.photo, p.alpha)), lmbda=0.01, roi=BOXES)
    yield (
        "roi-file",
        command("encode", "photo.png", "--roi", "mask.png", "--roi-gain", "50", "--lambda", "0.01"),
    )


def refined() -> Iterator[Case]:
    """Refinement of a few steps."""
    steps = ("--steps", "4", "--seed", "3")
    yield "refine-encode", command("encode", "photo.png", "--lambda", "0.01", "--refine", "3")
    yield "refine", command("refine", "photo.png", "--lambda", "0.005", *steps)
    yield "refine-size", command("refine", "photo.png", "--size", "900", *steps)
    yield "refine-psnr", command("refine", "photo.png", "--psnr", "30", *steps)
    yield (
        "refine-three",
        command("refine", "odd.png", "--lambda", "0.01", "--classes", "3", "--method", "ssl", *steps),
    )
    yield "refine-naive", command("refine", "odd.png", "--lambda", "0.01", "--naive", *steps)
    yield "refine-metric", command("refine", "large.png", "--lambda", "0.01", "--metric", "ms-ssim", *steps)
    yield "refine-roi", command("refine", "photo.png", "--lambda", "0.01", "--roi", "mask.png", *steps)
    yield "refine-msssim", command("refine", "odd.png", "--lambda", "0.01", "--model", "s-msssim", *steps)
    yield "refine-file", command("refine", "plain.ncc", "--original", "photo.png", *steps)
    yield (
        "refine-file-size",
        command("refine", "plain.ncc", "--original", "photo.png", "--size", "800", *steps),
    )
    yield (
        "refine-file-roi",
        command("refine", "region.ncc", "--original", "photo.png", "--roi", BOXES, *steps),
    )


def zoo(names: list[str], p: Pictures) -> Iterator[Case]:
    """One network of every class of the zoo."""
    for name in names:
        yield f"{name}", encode(p.photo, model=name)
        yield f"{name}-size", encode(p.odd, model=name, size=1500)
        yield f"{name}-roi", encode(p.photo, model=name, roi=BOXES)
    for name in names[:2]:
        yield (
            f"{name}-refine",
            command("refine", "odd.png", "--model", name, "--steps", "3", "--seed", "1"),
        )


def make_networks(folder: Path, pixels: Array) -> None:
    """Small networks of every class, as a cache folder of converted ones."""
    sys.path.insert(0, str(ROOT))
    from tests.support.zoo import STEMS, make_small

    (folder / "zoo").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for stem in STEMS:
            small = make_small(stem, pixels, Path(scratch))
            name = f"{stem}-{hashlib.sha256(small.data).hexdigest()}.safetensors"
            (folder / "zoo" / name).write_bytes(small.data)
            (folder / f"{stem}.name").write_text(small.model.name)


def write_inputs(p: Pictures) -> None:
    """The files that the command line reads, in the current folder."""
    for name in ("photo", "odd", "large", "mask"):
        Image.fromarray(getattr(p, name)).save(f"{name}.png")
    exif = Image.Exif()
    exif[0x010F] = "camera"
    tags = Image.fromarray(np.dstack((p.photo, p.alpha)))
    tags.save("alpha.png")
    tags.save("tags.png", icc_profile=bytes(range(128)) * 3, exif=exif, xmp=b"<x:xmpmeta/>")
    exif[ORIENTATION] = 6
    Image.fromarray(p.odd).save("turned.jpg", quality=90, exif=exif)
    run("decode", _kept("deep.ncc", nccli.encode(p.deep, device="cpu").data), "-o", "deep.png")
    _kept("plain.ncc", nccli.encode(p.photo, lmbda=0.005, device="cpu").data)
    _kept("region.ncc", nccli.encode(p.photo, lmbda=0.01, roi=BOXES, device="cpu").data)


def _kept(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def record(networks: Path) -> dict[str, dict[str, object]]:
    """Name of an encode -> bytes, checksum of the file and of the picture that it decodes to."""
    limit_threads(1)
    os.environ["NCC_CACHE"] = str(networks)
    os.environ.pop("NCC_MODEL", None)
    pictures = make_pictures()
    if not networks.is_dir():
        make_networks(networks, pictures.photo)
    names = [path.read_text() for path in sorted(networks.glob("*.name"))]
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_inputs(pictures)
        cases = [*rates(pictures), *samples(pictures), *regions(pictures), *refined(), *zoo(names, pictures)]
        for name, make in cases:
            content = make()
            decoded = np.ascontiguousarray(nccli.decode_array(content, device="cpu"))
            results[name] = {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "decoded": hashlib.sha256(decoded.tobytes()).hexdigest(),
            }
        os.chdir(ROOT)
    return results


def differences(before: dict[str, dict[str, object]], after: dict[str, dict[str, object]]) -> list[str]:
    """One line per encode that is not what it was."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            lines.append(f"{name}: only {'after' if old is None else 'before'}")
        elif old != new:
            what = "file" if old["sha256"] != new["sha256"] else "decoded picture"
            lines.append(f"{name}: another {what}, {old['bytes']} -> {new['bytes']} bytes")
    return lines


def main() -> None:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    path, start = chosen.file.resolve(), time.monotonic()
    found = record(path.with_suffix(".networks"))
    if chosen.action == "write":
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} encodes, {time.monotonic() - start:.0f} s")
        return
    lines = differences(json.loads(path.read_text()), found)
    print("\n".join(lines) or f"{len(found)} encodes as before, {time.monotonic() - start:.0f} s")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
