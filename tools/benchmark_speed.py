"""Decoding time against CompressAI's mbt2018-mean, and the entropy coder's throughput.

Run by hand: python tools/benchmark_speed.py [--threads 2]. Figures are medians of one run, warm, in
one process; compare the ratios. The mbt2018-mean network (N = 128) has random weights: its time does
not depend on them but for the range coder, which has less to do than with trained ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage import data

from nccli.catalogue.entries import DEFAULT_MODEL, find
from nccli.catalogue.load import load_model
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.entropy.coder import SymbolDecoder, SymbolEncoder
from nccli.program.inputs import limit_threads

ROUNDS = 9


def seconds(call: Callable[[], object]) -> float:
    """Median time of a call, after one to warm up."""
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def photograph() -> np.ndarray:
    """A photograph of 768x512 pixels."""
    return np.ascontiguousarray(np.tile(data.astronaut(), (1, 2, 1))[:, :768])


def compressai_decode_seconds(x: np.ndarray) -> float:
    """mbt2018-mean: bytes to pixels."""
    from compressai.zoo import mbt2018_mean

    torch.manual_seed(0)
    network = mbt2018_mean(quality=3, pretrained=False).eval()
    network.update(force=True)
    tensor = torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        coded = network.compress(tensor)
        return seconds(lambda: network.decompress(coded["strings"], coded["shape"]))


def coder_speed() -> tuple[float, float]:
    """Msymbol/s of encoding and decoding, with the shipped tables and symbols drawn from them."""
    tables = load_model(find(DEFAULT_MODEL)).y_tables
    random = np.random.default_rng(0)
    indexes = random.integers(1, 60, 2_000_000).astype(np.uint8)
    symbols = np.zeros(len(indexes), np.int32)
    for row in np.unique(indexes):
        mass = tables.row(row)[:-1] / tables.row(row)[:-1].sum()
        where = np.flatnonzero(indexes == row)
        symbols[where] = random.choice(len(mass), len(where), p=mass) + tables.lowest[row]
    encoder = SymbolEncoder()
    encoder.code(tables, indexes, symbols)
    stream = encoder.finish()
    encode = seconds(lambda: SymbolEncoder().code(tables, indexes, symbols))
    decode = seconds(lambda: SymbolDecoder(stream).code(tables, indexes, symbols))
    return len(indexes) / encode / 1e6, len(indexes) / decode / 1e6


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    limit_threads(parser.parse_args().threads)
    x = photograph()
    for lmbda in (0.002, 0.01, 0.05):
        coded = encode_pixels(x, Encoding(Rate(lmbda=lmbda)))
        encode = seconds(lambda lmbda=lmbda: encode_pixels(x, Encoding(Rate(lmbda=lmbda), measure=False)))
        report = seconds(lambda lmbda=lmbda: encode_pixels(x, Encoding(Rate(lmbda=lmbda))))
        decode = seconds(lambda coded=coded: decode_bytes(coded.data))
        print(
            f"ncc lambda {lmbda}: {coded.report.bpp:.3f} bpp, encode {encode:.3f} s, "
            f"with measuring {report:.3f} s, decode {decode:.3f} s"
        )
    for bpp in (0.2, 0.5, 1.0):
        target = Rate(size=int(bpp * x.shape[0] * x.shape[1] / 8))
        print(
            f"ncc --bpp {bpp}: {seconds(lambda target=target: encode_pixels(x, Encoding(target))) / report:.2f} of that"
        )
    print("coder: {:.1f} Msymbol/s encoding, {:.1f} decoding".format(*coder_speed()))
    other = compressai_decode_seconds(x)
    print(f"mbt2018-mean: decode {other:.3f} s, {other / decode:.1f} times ncc's")


if __name__ == "__main__":
    main()
