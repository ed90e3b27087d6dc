"""Write conformance vectors that are not there yet: `python -m tests.make_vectors`, from the root of a checkout.

Run by hand, when something that files can hold or a model is new. Files that are out in the world must
decode for ever, so vectors that are there stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from skimage import data

from nccli.catalogue.entries import DEFAULT_MODEL
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import decode_stored, encode_picture, encode_pixels, model_of
from nccli.codec.opened import decode_bytes
from nccli.container.image_file import read_image
from nccli.entropy.region import Region
from nccli.media.around.colour import Colour
from nccli.media.picture import Metadata, Picture, Pixels

FOLDER = Path(__file__).resolve().parent / "vectors" / "v1"
LAMBDAS = (0.0005, 0.01, 0.15)
DEEP_TOLERANCE = 16
"""Levels of 16 bits that two machines' float arithmetic may differ by."""


@dataclass(frozen=True)
class Vector:
    """One file and what decoding it must give.

    Attributes:
        file: in the vectors folder; the expected samples are beside it, as .npz.
        y_hat: sha256 of y_hat as little-endian int32, channels, rows, columns: to the bit.
        tolerance: largest difference of a sample, in levels.
        details: sha256 of the symbols of details as little-endian int16, likewise; empty for none.
    """

    file: str
    y_hat: str
    tolerance: int
    details: str = ""


def digests(file: bytes) -> tuple[str, str]:
    """`Vector.y_hat` and `Vector.details` of a file."""
    container = read_image(file)
    stream = decode_stored(container, model_of(container, "cpu")).stream
    y_hat = hashlib.sha256(stream.y_hat.astype("<i4").tobytes()).hexdigest()
    if stream.details is None:
        return y_hat, ""
    return y_hat, hashlib.sha256(stream.details.symbols.astype("<i2").tobytes()).hexdigest()


def _size(pixels: Pixels, lmbda: float) -> int:
    return len(encode_pixels(pixels, Encoding(Rate(lmbda=lmbda), device="cpu", measure=False)).data)


@dataclass(frozen=True)
class Job:
    """What a vector is made from."""

    picture: Picture
    target: Rate
    region: Region | None = None
    model: str = DEFAULT_MODEL


def jobs() -> dict[str, Job]:
    """What to encode, by file name."""
    chelsea, coffee = data.chelsea(), data.coffee()
    plain = {
        "64x48": coffee[100:148, 200:264],
        "33x17": chelsea[110:127, 140:173],
        "1x1": coffee[50:51, 60:61],
    }
    chosen = {
        f"{size}-{lmbda:g}": Job(Picture(np.ascontiguousarray(x)), Rate(lmbda=lmbda))
        for size, x in plain.items()
        for lmbda in LAMBDAS
    }
    x = np.ascontiguousarray(chelsea[60:100, 120:170])
    rows, columns = np.mgrid[:40, :50]
    alpha = (rows * columns % 256).astype(np.uint8)
    deep = x.astype(np.uint16) * 256 + alpha[..., None]
    large = Picture(np.ascontiguousarray(coffee[80:210, 150:400]))
    levels = np.zeros((9, 16), np.uint8)
    levels[2:6, 4:9], levels[6, 10:] = 8, range(3, 9)
    coarse = np.array([[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], np.uint8)
    return chosen | {
        "coarser": Job(Picture(x), Rate(size=_size(x, LAMBDAS[0]) * 4 // 5)),
        "finer": Job(Picture(x), Rate(size=_size(x, LAMBDAS[-1]) * 3 // 2)),
        "gray": Job(Picture(np.ascontiguousarray(x[..., 1:2])), Rate(lmbda=0.01)),
        "deep": Job(Picture(deep), Rate(lmbda=0.05)),
        "alpha": Job(Picture(x, alpha, Metadata(xmp=b"<x:xmpmeta/>")), Rate(lmbda=0.01)),
        "roi": Job(large, Rate(lmbda=0.02), Region(levels, 8, 0, 2, 300)),
        "roi-coarse": Job(large, Rate(lmbda=0.0008), Region(coarse, 1, 2, 0, 512)),
        "s-msssim": Job(large, Rate(lmbda=0.01), model="s-msssim"),
        "details": Job(Picture(drawing()), Rate(psnr=42)),
        "details-roi": Job(Picture(drawing()), Rate(lmbda=0.15), Region(levels[:5, :6], 8, 0, 1, 200)),
        "details-deep": Job(Picture(drawing().astype(np.uint16) * 257), Rate(psnr=45)),
        "colour": Job(Picture(x, None, Metadata(colour=Colour(gamma=100000))), Rate(lmbda=0.01)),
        "s-9": Job(large, Rate(lmbda=0.01)),
        "m": Job(large, Rate(lmbda=0.01), model="m"),
    }


def drawing() -> Pixels:
    """Hard edges, saturated colours and noise, (72, 88, 3): what no network of photographs brings back."""
    rows, columns = np.mgrid[:72, :88]
    x = np.zeros((72, 88, 3), np.uint8)
    x[..., 0] = (rows // 3 + columns // 5) % 2 * 255
    x[..., 1] = (columns * 7 % 11 > 5) * 255
    x[:36, 44:, 2] = 255
    x[40:, :40] = np.random.default_rng(7).integers(0, 256, (32, 40, 3))
    return x


def main() -> None:
    """Write what is missing, expected samples, and the index."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = FOLDER / "index.json"
    vectors = json.loads(index.read_text()) if index.exists() else []
    there = {item["file"] for item in vectors}
    for name, job in jobs().items():
        if f"{name}.ncc" in there:
            continue
        file = encode_picture(
            job.picture, Encoding(job.target, job.model, device="cpu", measure=False, region=job.region)
        ).data
        decoded = decode_bytes(file, device="cpu").picture
        samples = {"pixels": decoded.pixels}
        if decoded.alpha is not None:
            samples["alpha"] = decoded.alpha
        (FOLDER / f"{name}.ncc").write_bytes(file)
        np.savez_compressed(FOLDER / f"{name}.npz", **samples)
        tolerance = 1 if decoded.depth == 8 else DEEP_TOLERANCE
        y_hat, details = digests(file)
        vectors.append(asdict(Vector(f"{name}.ncc", y_hat, tolerance, details)))
    index.write_text(json.dumps(vectors, indent=2) + "\n")
    print(f"{len(vectors)} vectors in {FOLDER}")


if __name__ == "__main__":
    main()
