"""Files that no encoder wrote: refused in little time and memory, and never a garbage picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from nccli.bounds import MAX_PIXELS, MAX_SIDE, STEP_Y_LIMIT
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_picture
from nccli.codec.opened import decode_bytes
from nccli.coding.payload import CHECKS_BYTES
from nccli.coding.schedule import Receiver, code_hyper, symbols_checksum
from nccli.container.framing import MAGIC, Section
from nccli.container.image_file import ImageHeader, minimum_latent_bytes, read_image, write_image
from nccli.container.section_ids import SectionId
from nccli.entropy.coder import SymbolDecoder
from nccli.entropy.grid import Grid
from nccli.errors import FormatError, MediaError, UnsupportedError
from nccli.media.picture import Metadata, Picture
from nccli.networks.weights import ImageWeights
from tests.support import Pixels, encode, resealed

resource = pytest.importorskip("resource")

SECONDS = 2.0
MEMORY_KIB = 2**20
REAL_PAYLOAD_PIXELS = 2**24

Random = np.random.Generator


@dataclass(frozen=True)
class Original:
    """A valid file and what it decodes to."""

    data: bytes
    header: ImageHeader
    sections: tuple[Section, ...]
    pixels: Pixels


@pytest.fixture(scope="module")
def originals(photo: Pixels, odd: Pixels, small: Pixels) -> list[Original]:
    alpha = np.arange(odd.shape[0] * odd.shape[1], dtype=np.uint32).reshape(odd.shape[:2]).astype(np.uint8)
    rich = Picture(odd, alpha, Metadata(icc=bytes(range(200)), xmp=b"<x/>"))
    files = [encode(photo, 0.03), encode(small, 0.0005), encode(small[:1, :1], 0.15)]
    files.append(encode_picture(rich, Encoding(Rate(lmbda=0.01), device="cpu")).data)
    read = [read_image(data) for data in files]
    return [
        Original(data, r.header, r.sections, decode_bytes(data, device="cpu").pixels)
        for data, r in zip(files, read, strict=True)
    ]


def truncated(rng: Random, file: Original, _: Original) -> bytes:
    return file.data[: int(rng.integers(len(file.data)))]


def truncated_sealed(rng: Random, file: Original, _: Original) -> bytes:
    return resealed(truncated(rng, file, file) + bytes(4))


def flipped(rng: Random, file: Original, _: Original) -> bytes:
    damaged = bytearray(file.data)
    for _bit in range(int(rng.integers(1, 5))):
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def flipped_sealed(rng: Random, file: Original, _: Original) -> bytes:
    return resealed(flipped(rng, file, file))


def random_sections(rng: Random, file: Original, _: Original) -> bytes:
    known = [int(s) for s in SectionId]
    sections = list(file.sections)
    for _section in range(int(rng.integers(1, 5))):
        number = int(rng.choice([*known, *known, int(rng.integers(256))]))
        payload = rng.bytes(int(rng.integers(0, 400)))
        sections.insert(int(rng.integers(len(sections) + 1)), Section(number, payload))
    if rng.random() < 0.5:
        sections = [s for s in sections if s not in file.sections]
    return write_image(file.header, sections)


def random_size(rng: Random) -> tuple[int, int]:
    width = int(2 ** rng.uniform(0, np.log2(MAX_SIDE)))
    height = int(2 ** rng.uniform(0, np.log2(min(MAX_SIDE, MAX_PIXELS // width))))
    return width, height


def claimed_size(rng: Random, file: Original, _: Original) -> bytes:
    width, height = random_size(rng)
    least = minimum_latent_bytes(width, height)
    payload = rng.bytes(int(rng.integers(least, 2 * least + 300)))
    if width * height <= REAL_PAYLOAD_PIXELS and rng.random() < 0.5:
        payload = file.sections[0].payload.ljust(least, b"\0")
    if rng.random() < 0.2:
        payload = payload[: len(payload) // 3]
    header = replace(file.header, width=width, height=height)
    return write_image(header, [Section(SectionId.LATENTS, payload)])


def other_setting(rng: Random, file: Original, _: Original) -> bytes:
    limit = STEP_Y_LIMIT
    header = replace(
        file.header,
        rate=int(rng.integers(0x10000)),
        step_y=int(rng.integers(-limit, limit + 1)),
        step_z=int(rng.integers(7)),
    )
    return write_image(header, list(file.sections))


def spliced(rng: Random, file: Original, other: Original) -> bytes:
    ours, theirs = file.sections[0].payload, other.sections[0].payload
    payload = ours[: int(rng.integers(len(ours)))] + theirs[int(rng.integers(len(theirs))) :]
    return write_image(file.header, [Section(SectionId.LATENTS, payload), *file.sections[1:]])


def random_payload(rng: Random, file: Original, _: Original) -> bytes:
    payload = rng.bytes(int(rng.integers(0, 2000)))
    return write_image(file.header, [Section(SectionId.LATENTS, payload), *file.sections[1:]])


def noise(rng: Random, file: Original, _: Original) -> bytes:
    start = MAGIC + file.data[len(MAGIC) : int(rng.integers(len(MAGIC), 30))]
    return resealed(start + rng.bytes(int(rng.integers(4, 500))))


ATTACKS: list[Callable[[Random, Original, Original], bytes]] = [
    truncated,
    truncated_sealed,
    flipped,
    flipped_sealed,
    random_sections,
    claimed_size,
    other_setting,
    spliced,
    random_payload,
    noise,
]


def check(file: Original, data: bytes) -> float:
    """Decode one hostile file; returns the seconds of work."""
    start = time.process_time()
    try:
        pixels = decode_bytes(data, device="cpu").pixels
    except (FormatError, UnsupportedError, MediaError):
        pixels = None
    seconds = time.process_time() - start
    if pixels is not None:
        header = read_image(data).header
        assert pixels.shape[:2] == (header.height, header.width)
        if header == file.header:
            assert np.array_equal(pixels, file.pixels)
    return seconds


def run_attacks(originals: list[Original], seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        file, other = (originals[int(i)] for i in rng.integers(len(originals), size=2))
        attack = ATTACKS[number % len(ATTACKS)]
        data = attack(rng, file, other)
        seconds = check(file, data)
        assert seconds < SECONDS, f"{attack.__name__} number {number}: {seconds:.1f} s"
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < MEMORY_KIB, f"{growth // 1024} MiB"


def test_sampled_attacks(originals: list[Original]) -> None:
    run_attacks(originals, seed=1, count=400)


@pytest.mark.slow
def test_more_sampled_attacks(originals: list[Original]) -> None:
    run_attacks(originals, seed=2, count=3000)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_mostly_refused(
    originals: list[Original], attack: Callable[[Random, Original, Original], bytes]
) -> None:
    rng = np.random.default_rng(3)
    refused = 0
    for number in range(12):
        file, other = originals[number % len(originals)], originals[(number + 1) % len(originals)]
        try:
            decode_bytes(attack(rng, file, other), device="cpu")
        except (FormatError, UnsupportedError, MediaError):
            refused += 1
    assert refused >= 6


def with_right_check_of_z(weights: ImageWeights, header: ImageHeader, stream: bytes) -> bytes:
    """A payload that gets past the check of z, so that all of y is decoded."""
    grid = Grid.of(header.height, header.width)
    receiver = Receiver(weights.y_tables, SymbolDecoder(stream))
    check = symbols_checksum(code_hyper(weights, grid, header.step_z, receiver)) & 0xFF
    return bytes([check]) + bytes(CHECKS_BYTES - 1) + stream


def test_the_largest_free_claim_is_cheap(weights: ImageWeights, originals: list[Original]) -> None:
    header = replace(originals[0].header, width=1024, height=1024)
    payload = with_right_check_of_z(weights, header, b"")
    start = time.process_time()
    with pytest.raises(FormatError, match="checksum of the decoded latents"):
        decode_bytes(write_image(header, [Section(SectionId.LATENTS, payload)]), device="cpu")
    assert time.process_time() - start < SECONDS
